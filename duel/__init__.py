"""Duel: two models train each other with no labels, through an image generator."""

__version__ = "0.1.0"
