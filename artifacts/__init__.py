"""A run's files: directory layout, checkpoints, records, evaluation results, PDFs, plots and the HTML report."""
