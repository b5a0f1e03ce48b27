"""Trains and measures the models that ship with the offline world."""
