"""Data sets: their layout on disk, and CharXiv with its download, provenance and grading rubrics."""
