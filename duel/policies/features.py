"""Features of a frozen vision tower, kept for the last batches of images.

A round reads the same images several times: to describe them, to score the descriptions as they are now and as the
untrained model would, and for the anchor. With LoRA the vision tower never changes, so that its features do not either.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import count
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

BATCHES = 3  # of images whose features are kept: those described, and the anchor's
MOST_BYTES = 512 * 2**20  # of the features of one batch that is kept


class FeatureMemo:
    """What one network's vision tower returned for the last batches; equal bits to what it would return again."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, list[Any]] = OrderedDict()  # by batch: the output of each call of the tower
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
        outputs = self._kept.pop(images, [])
        patched = tower.__dict__.get("forward")  # by somebody else, on this instance
        tower.forward = partial(self._call, tower.forward, outputs, count())
        try:
            yield
        finally:
            del tower.forward
            if patched is not None:
                tower.forward = patched
        if size(outputs) <= MOST_BYTES:
            self._kept[images] = outputs
            while len(self._kept) > BATCHES:
                self._kept.popitem(last=False)

    def _call(self, forward: Any, outputs: list[Any], calls: Iterator[int], *inputs: Any, **options: Any) -> Any:
        """Return the output of this call among those of the batch: some models call their tower several times."""
        call = next(calls)
        if call == len(outputs):
            self.computed += 1
            outputs.append(_without_graph(forward(*inputs, **options)))
        return copy(outputs[call])  # callers write fields of the output


def size(outputs: Sequence[Any]) -> int:
    """Return the bytes of the tensors of a tower's outputs."""
    return sum(tensor.nbytes for output in outputs for tensor in _tensors(output))


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors of a tower's output: a tensor, or a tuple, list or dictionary of such, nested."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict):
        for part in output.values():
            yield from _tensors(part)
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors(part)


def _without_graph(output: Any) -> Any:
    """Return a tower's output. Raises RuntimeError if it carries gradients, which a frozen tower's cannot."""
    if any(tensor.requires_grad for tensor in _tensors(output)):
        raise RuntimeError("the features of a frozen vision tower carry gradients; expected none")
    return output
