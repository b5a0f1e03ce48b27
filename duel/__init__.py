"""Duel: two models train each other by GRPO, without labels, on the similarity of generated images."""

__version__ = "0.2.0.dev0"
