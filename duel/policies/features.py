"""Features of a frozen vision tower, kept for the last batches of images.

A round reads the same images several times: to describe them, to score the descriptions as they are now and as the
untrained model would, and for the anchor. With LoRA the vision tower never changes, so that its features do not either.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

BATCHES = 3  # of images whose features are kept: those described, and the anchor's


class FeatureMemo:
    """What one network's vision tower returned for the last batches; equal bits to what it would return again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self.computed = 0  # calls of the tower while `reading`

    def forget(self) -> None:
        """Drop what is kept."""
        self._kept.clear()

    @contextmanager
    def reading(self, network: PreTrainedModel, images: str) -> Iterator[None]:
        """Let the tower return what it did for the same `images`, a digest of a batch; empty: there are none.

        A tower that is trained is called every time.
        """
        tower = network.get_encoder(modality="image") if images else network
        if tower is network or any(weight.requires_grad for weight in tower.parameters()):
            yield
            return
        patched = tower.__dict__.get("forward")  # by somebody else, on this instance
        tower.forward = partial(self._call, tower, tower.forward, images)
        try:
            yield
        finally:
            del tower.forward
            if patched is not None:
                tower.forward = patched

    def _call(self, tower: nn.Module, forward: Any, images: str, *inputs: Any, **options: Any) -> Any:
        key = f"{images} {tower.training}"
        if key not in self._kept:
            self.computed += 1
            self._kept[key] = _without_graph(forward(*inputs, **options))
            while len(self._kept) > BATCHES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return copy(self._kept[key])  # callers write fields of the output


def _without_graph(output: Any) -> Any:
    """Return a tower's output. Raises RuntimeError if it carries gradients, which a frozen tower's cannot."""
    tensors = output.values() if isinstance(output, dict) else (output if isinstance(output, tuple) else [output])
    if any(isinstance(tensor, Tensor) and tensor.requires_grad for tensor in tensors):
        raise RuntimeError("the features of a frozen vision tower carry gradients; expected none")
    return output
