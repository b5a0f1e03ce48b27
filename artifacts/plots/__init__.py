"""A run's plots as PNG files."""
