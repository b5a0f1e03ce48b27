"""The farm needs the world with weaknesses; its tests run where that is there."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("duel.offline.strata") else ["test_farm.py"]
