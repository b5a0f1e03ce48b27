"""A policy writes completions, scores them, and learns from their rewards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch

from duel.errors import RunError
from duel.policies.cuda_graph import StaticDecoder, has_full_attention, sample_rows_static
from duel.policies.inputs import build_prompts, distinct
from duel.policies.logprobs import completion_logprobs, pack_rows
from duel.policies.models import Model
from duel.policies.optimizer import PlayerOptimizer
from duel.policies.prefix import encode_prompts
from duel.policies.sampling import SampledRows, draw_uniforms, sample_rows
from duel.policies.tuning import Tuning
from duel.policies.update import LearningSettings, accumulate_gradient, build_batch, chunks
from duel.types import Completion, Group, ModelInput, Player, UpdateReport, pack_logprobs


class Policy(Protocol):
    """One player. `save` is for evaluation; `save_training_state` holds all that continuing needs."""

    player: Player

    @property
    def rounds_learned(self) -> int:
        """Rounds this player has learned from."""

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps it has taken."""

    @property
    def last_update(self) -> UpdateReport:
        """What the last call of `learn` did. Raises RunError when it broke half way."""

    def sample(
        self,
        inputs: Sequence[ModelInput],
        seeds: Sequence[Sequence[int]],
        *,
        temperature: float,
        max_new_tokens: int,
    ) -> list[list[Completion]]:
        """Write one completion for every seed of every input, (I, G), with the log-probabilities of its tokens."""

    def logprobs(
        self, inputs: Sequence[ModelInput], completions: Sequence[Sequence[Completion]], *, temperature: float
    ) -> list[list[list[float]]]:
        """Return the log-probability of every token of every completion, (I, G, T)."""

    def learn(self, inputs: Sequence[ModelInput], groups: Sequence[Group]) -> UpdateReport:
        """Learn from one round: input i is what the completions of group i answered."""

    def save(self, directory: Path) -> None:
        """Write the weights."""

    def load(self, directory: Path) -> None:
        """Take the weights."""

    def save_training_state(self, directory: Path) -> None:
        """Write weights, optimizer state, counters and gathered gradients."""

    def load_training_state(self, directory: Path) -> None:
        """Take them back, bit for bit."""


class LocalPolicy:
    """A policy on one device."""

    def __init__(self, player: Player, tuning: Tuning, optimizer: PlayerOptimizer, settings: LearningSettings) -> None:
        self.player = player
        self.tuning = tuning
        self.optimizer = optimizer
        self.settings = settings
        self.decoder: StaticDecoder | None = None  # of the last shape sampled on CUDA
        self._last_update: UpdateReport | None = None
        self._learning = False  # True after a call of `learn` that raised

    @property
    def model(self) -> Model:
        """The model in which the player's weights are put."""
        return self.tuning.model

    @property
    def rounds_learned(self) -> int:
        """Rounds this player has learned from."""
        return self.optimizer.rounds_learned

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps it has taken."""
        return self.optimizer.steps

    @property
    def last_update(self) -> UpdateReport:
        """What the last call of `learn` did. Raises RunError when it broke half way, or there was none."""
        self._check_whole()
        if self._last_update is None:
            raise RunError(f"the {self.player} has not learned anything in this process, expected an update")
        return self._last_update

    def sample(
        self,
        inputs: Sequence[ModelInput],
        seeds: Sequence[Sequence[int]],
        *,
        temperature: float,
        max_new_tokens: int,
    ) -> list[list[Completion]]:
        """Write one completion for every seed of every input, all in one batch; each distinct input is read once.

        Raises DataError for bytes that are no image, SettingsError for an image given to a text-only model.
        """
        rows = self.sample_rows(inputs, seeds, temperature=temperature, max_new_tokens=max_new_tokens)
        if rows is None:
            return [[] for _ in inputs]
        written = iter(self._completions(rows))
        return [[next(written) for _ in group] for group in seeds]

    @torch.no_grad()
    def sample_rows(
        self,
        inputs: Sequence[ModelInput],
        seeds: Sequence[Sequence[int]],
        *,
        temperature: float,
        max_new_tokens: int,
    ) -> SampledRows | None:
        """Do the same, but return tokens and their log-probabilities, input by input; None for no rows at all."""
        asked, place = distinct(inputs)
        prompt_of_row = [place[i] for i, group in enumerate(seeds) for _ in group]
        if not prompt_of_row:
            return None
        uniforms_BT = draw_uniforms([seed for group in seeds for seed in group], max_new_tokens)
        with self.tuning.sampling():
            prefix = encode_prompts(self.model, build_prompts(self.model, asked))
            expanded = prefix.expand(torch.tensor(prompt_of_row, device=self.model.device))
            if self.model.device.type != "cuda" or not has_full_attention(self.model):
                return sample_rows(self.model, expanded, uniforms_BT, temperature)
            sampled, self.decoder = sample_rows_static(self.decoder, self.model, expanded, uniforms_BT, temperature)
            return sampled

    @torch.no_grad()
    def logprobs(
        self, inputs: Sequence[ModelInput], completions: Sequence[Sequence[Completion]], *, temperature: float
    ) -> list[list[list[float]]]:
        """Return the log-probability of every token of every completion, (I, G, T)."""
        asked, place = distinct(inputs)
        prompt_of_row = [place[i] for i, group in enumerate(completions) for _ in group]
        tokens = [completion.tokens for group in completions for completion in group]
        if not tokens:
            return [[] for _ in completions]
        scores: list[list[float]] = []
        with self.tuning.active():
            prefix = encode_prompts(self.model, build_prompts(self.model, asked))
            for part in chunks(len(tokens), self.settings.rows_per_forward):
                tokens_BT = pack_rows(self.model, tokens[part])
                expanded = prefix.expand(torch.tensor(prompt_of_row[part], device=self.model.device))
                scores += completion_logprobs(self.model, expanded, tokens_BT, temperature).tolist()
        scored = iter([row[: len(own)] for row, own in zip(scores, tokens, strict=True)])
        return [[next(scored) for _ in group] for group in completions]

    def learn(self, inputs: Sequence[ModelInput], groups: Sequence[Group]) -> UpdateReport:
        """Learn from one round; the optimizer steps at the end of this player's accumulation window.

        Completions without a reward, and groups whose rewards are all equal, give no gradient. The gradient is that of
        one batch, however many completions one forward pass takes. Raises RunError after a call that broke half way:
        some of its gradient may be there already.
        """
        self._check_whole()
        self._learning = True
        batch = build_batch(inputs, groups, self.settings)
        with self.tuning.active():
            added = accumulate_gradient(self.tuning, batch, self.settings, self.optimizer.accumulation)
        norm = self.optimizer.end_round()
        self._learning = False
        self._last_update = UpdateReport(
            loss=added.loss,
            gradient_norm=norm,
            groups=len(groups),
            skipped_groups=batch.skipped_groups,
            rounds_learned=self.rounds_learned,
            optimizer_steps=self.optimizer_steps,
            logprob_gap_mean=added.mean_gap,
            logprob_gap_max=added.largest_gap,
        )
        return self._last_update

    def save(self, directory: Path) -> None:
        """Write the weights for evaluation: a PEFT adapter folder, or a `save_pretrained` folder."""
        self.tuning.save(directory)

    def load(self, directory: Path) -> None:
        """Take weights that `save` wrote; raises RunError when they do not fit."""
        self.tuning.load(directory)

    def save_training_state(self, directory: Path) -> None:
        """Write fp32 weights, optimizer state, counters and the gradients gathered so far."""
        self.optimizer.save(directory)

    def load_training_state(self, directory: Path) -> None:
        """Take them back, bit for bit; raises RunError when they do not fit."""
        self.optimizer.load(directory)

    def _check_whole(self) -> None:
        if self._learning:
            raise RunError(
                f"an update of the {self.player} broke half way and cannot go on in this process; "
                "run the same command again, it goes on from the last checkpoint"
            )

    def _completions(self, rows: SampledRows) -> Iterator[Completion]:
        columns = (rows.tokens_BT, rows.logprobs_BT, rows.lengths_B, rows.finished_B)
        for padded, logprobs, length, finished in zip(*(column.tolist() for column in columns), strict=True):
            tokens = padded[:length]
            text = self.model.tokenizer.decode(tokens, skip_special_tokens=True).strip()
            yield Completion(text, " ".join(map(str, tokens)), finished, pack_logprobs(logprobs[:length]))
