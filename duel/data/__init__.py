"""Data sets: their layout on disk, and CharXiv with its download, recorded checksums and grading rubrics."""
