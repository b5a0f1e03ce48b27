"""Evaluation results of a run: records on disk, comparison with intervals, tables, console output and export."""
