"""The Prefect flows (prepare, train, evaluate, report) and the command line."""
