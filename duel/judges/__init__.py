"""Judges that grade answers to chart questions: the `Judge` protocol, exact match, and an LLM judge."""
