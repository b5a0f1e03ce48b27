"""The run directory: its layout, records and checkpoints, written so that a kill leaves it consistent."""
