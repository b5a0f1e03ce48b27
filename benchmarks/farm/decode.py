"""Sampling for all runs at once; on a GPU a decoding step is one CUDA graph, since it consists of 200 small kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.farm.model import Cache, Layers, Prefix, Prompt, StackedModel
from duel.policies.logprobs import log_distribution
from duel.policies.sampling import choose_tokens


class Decoding:
    """Completions that are being sampled, (A, N, K, T)."""

    def __init__(
        self, model: StackedModel, weights: Layers, prompt: Prompt, prefix: Prefix, uniforms: Tensor, temperature: float
    ) -> None:
        A, N, K, T = uniforms.shape
        shape, device = (A, N, model.key_heads, K, T, model.head_width), model.device
        self.model, self.weights, self.prompt, self.prefix = model, weights, prompt, prefix
        self.uniforms, self.temperature = uniforms, temperature
        place = torch.zeros(1, dtype=torch.long, device=device)
        self.cache = Cache(
            [(torch.zeros(shape, device=device), torch.zeros(shape, device=device)) for _ in weights], place
        )
        self.logits = prefix.logits[:, :, None].repeat(1, 1, K, 1)
        self.tokens = torch.full((A, N, K, T), model.end, device=device)
        self.finished = torch.zeros(A, N, K, dtype=torch.bool, device=device)
        self.lengths = torch.zeros(A, N, K, dtype=torch.long, device=device)

    def step(self) -> None:
        """Sample the next token of all completions, in place: a captured graph repeats it."""
        model, place = self.model, self.cache.place
        logprobs = log_distribution(self.logits, model.forbidden_V, self.temperature)
        uniforms = self.uniforms.index_select(-1, place)[..., 0]
        chosen = choose_tokens(logprobs.flatten(0, -2), uniforms.flatten()).view_as(uniforms)
        chosen = chosen.masked_fill(self.finished, model.end)[..., None]
        self.tokens.index_copy_(-1, place, chosen)
        ended = chosen[..., 0] == model.end
        self.lengths.copy_(torch.where(~self.finished & ended, place + 1, self.lengths))
        self.finished.logical_or_(ended)
        cosines, sines = (part.index_select(0, place) for part in self.prompt.rope_after)
        hidden = model.run(self.weights, model.embedding_VD[chosen], (cosines, sines), self.prefix, self.cache)
        self.logits.copy_(hidden[..., 0, :] @ model.embedding_VD.T)
        place.add_(1)


class Sampler:
    """Samples completions of a prompt."""

    def __init__(self, model: StackedModel) -> None:
        self.model = model
        self.captures = model.device.type == "cuda"
        if self.captures:
            self.stream, self.memory = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    @torch.no_grad()
    def sample(
        self, weights: Layers, prompt: Prompt, images: Tensor | None, uniforms: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return tokens (A, N, K, T), padded with the end token, and lengths with it (0: unfinished at the limit).

        Args:
            weights: Of the runs, from `merge`.
            prompt: What all are asked.
            images: (A, N, image tokens, width), or None.
            uniforms: (A, N, K, T) random numbers, one per token.
            temperature: Divides the logits.
        """
        prefix = self.model.read_prompt(weights, prompt, images)
        decoding = Decoding(self.model, weights, prompt, prefix, uniforms, temperature)
        length = uniforms.shape[-1]
        step, done, every = (decoding.step, 0, 4) if not self.captures else (self._capture(decoding), 1, 8)
        for number in range(done, length):
            step()
            if number % every == every - 1 and bool(decoding.finished.all()):
                break
        return decoding.tokens, decoding.lengths

    def _capture(self, decoding: Decoding) -> Callable[[], None]:
        """Make the first step, and return a function that makes each further one as a CUDA graph."""
        current = torch.cuda.current_stream()
        self.stream.wait_stream(current)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(self.stream):
            decoding.step()
            graph.capture_begin(pool=self.memory, capture_error_mode="thread_local")
            decoding.step()
            graph.capture_end()
        current.wait_stream(self.stream)
        self.last_graph = graph  # keeps the pool of memory alive
        return graph.replay
