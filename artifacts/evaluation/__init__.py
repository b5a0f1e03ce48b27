"""Evaluation results: written, read, compared, and put into tables and words."""
