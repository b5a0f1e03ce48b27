"""Context-manager mixin for classes with `close()`."""

from __future__ import annotations

from typing import Self


class Closing:
    """Calls `close()` at the end of a `with` block."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()

    def close(self) -> None:
        """Release all resources; the object cannot be used afterwards."""
        raise NotImplementedError
