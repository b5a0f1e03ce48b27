"""Judges of answers to questions about charts: the interface, exact match, and a language model."""
