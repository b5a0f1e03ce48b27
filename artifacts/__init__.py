"""What a run leaves behind: its directory, checkpoints, records, PDFs, plots and report."""
