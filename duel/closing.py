"""What is open until it is closed can be used in a `with` block."""

from __future__ import annotations

from typing import Self


class Closing:
    """Gives a class that has `close()` its `with` block, at the end of which it is closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what is open; the object cannot be used afterwards."""
        raise NotImplementedError
