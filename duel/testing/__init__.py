"""Servers on this machine that answer as the paid services do, faults included: `python -m duel.testing`."""
