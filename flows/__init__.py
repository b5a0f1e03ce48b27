"""What runs, in what order: the Prefect flows and the command line."""
