"""What clients of remote services share. Knows nothing of generators, judges, data sets and policies."""
