"""The run directory: what is in it, and how it is written so that a kill at any instant leaves it whole."""
