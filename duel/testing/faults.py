"""What goes wrong at a loopback server: by script, or by rates with a seed."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence

from duel.randomness import stream


class Faults:
    """Decides for each request whether it goes wrong, and how; safe to use from several threads.

    `rates` maps a fault's name to its probability, wherever that fault is possible. `counts` says what happened.
    """

    def __init__(self, rates: Mapping[str, float] | None = None, seed: int = 0) -> None:
        self.rates = dict(rates or {})
        self.counts: Counter[str] = Counter()  # "stage fault" -> how often
        self._chance = stream(seed, "faults")
        self._scripts: dict[str, deque[str | None]] = defaultdict(deque)
        self._lock = threading.Lock()

    def script(self, stage: str, *faults: str | None) -> None:
        """Make the next requests of a stage go wrong so, in order; None is a request that goes well."""
        with self._lock:
            self._scripts[stage].extend(faults)

    def pick(self, stage: str, possible: Sequence[str]) -> str | None:
        """Return the fault of this request: the script's next, else one by its rate, else None."""
        with self._lock:
            script = self._scripts[stage]
            fault = script.popleft() if script else self._by_rate(possible)
            if fault is not None:
                if fault not in possible:
                    raise ValueError(f"{stage} cannot go wrong as {fault!r}; possible: {', '.join(possible)}")
                self.counts[f"{stage} {fault}"] += 1
            return fault

    def _by_rate(self, possible: Sequence[str]) -> str | None:
        left = self._chance.random()
        for fault in possible:
            left -= self.rates.get(fault, 0.0)
            if left < 0:
                return fault
        return None
