"""Fault injection for the local servers: scripted per request, or random with a seed."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence

from duel.randomness import stream


class Faults:
    """Decides which requests fail, and how. Thread-safe.

    `rates` maps a fault's name to its probability per request that can have it; `counts` has the faults injected.
    """

    def __init__(self, rates: Mapping[str, float] | None = None, seed: int = 0) -> None:
        self.rates = dict(rates or {})
        self.counts: Counter[str] = Counter()  # "stage fault" -> injected so often
        self._chance = stream(seed, "faults")
        self._scripts: dict[str, deque[str | None]] = defaultdict(deque)
        self._lock = threading.Lock()

    def script(self, stage: str, *faults: str | None) -> None:
        """Set the faults of a stage's next requests, in order; None is a request that succeeds."""
        with self._lock:
            self._scripts[stage].extend(faults)

    def pick(self, stage: str, possible: Sequence[str]) -> str | None:
        """Return this request's fault: the next scripted one, else one drawn by its rate, else None.

        Raises ValueError for a scripted fault that this stage cannot have.
        """
        with self._lock:
            script = self._scripts[stage]
            fault = script.popleft() if script else self._by_rate(possible)
            if fault is not None:
                if fault not in possible:
                    raise ValueError(f"the stage {stage} has no fault {fault!r}; possible: {', '.join(possible)}")
                self.counts[f"{stage} {fault}"] += 1
            return fault

    def _by_rate(self, possible: Sequence[str]) -> str | None:
        left = self._chance.random()
        for fault in possible:
            left -= self.rates.get(fault, 0.0)
            if left < 0:
                return fault
        return None
