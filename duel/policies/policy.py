"""The `Policy` protocol (sample, score, learn, save, load) and LocalPolicy, its implementation on one device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import torch

from duel.errors import RunError
from duel.policies.anchor import AnchorAnswer, accumulate_anchor
from duel.policies.card import model_card
from duel.policies.cuda_graph import StaticDecoder, has_full_attention, sample_rows_static
from duel.policies.inputs import build_prompts, distinct
from duel.policies.logprobs import completion_logprobs, pack_rows
from duel.policies.models import Model
from duel.policies.optimizer import PlayerOptimizer
from duel.policies.prefix import Prefix, encode_prompts
from duel.policies.sampling import SampledRows, draw_uniforms, sample_rows
from duel.policies.tuning import LoraTuning, Tuning
from duel.policies.update import LearningSettings, accumulate_gradient, any_unmeasured, build_batch, chunks, finite
from duel.types import Completion, Group, ModelInput, Player, UpdateReport, pack_logprobs


class Policy(Protocol):
    """A trainable language model. `save` is for evaluation, `save_training_state` for resuming."""

    player: Player

    @property
    def rounds_learned(self) -> int:
        """Number of rounds this player has learned from."""

    @property
    def optimizer_steps(self) -> int:
        """Number of optimizer steps taken."""

    @property
    def last_update(self) -> UpdateReport:
        """The report of the last `learn` call. Raises RunError if that call did not finish."""

    def sample(
        self,
        inputs: Sequence[ModelInput],
        seeds: Sequence[Sequence[int]],
        *,
        temperature: float,
        max_new_tokens: int,
        untrained: bool = False,
    ) -> list[list[Completion]]:
        """Return one completion per seed of each input, (I, G), with its tokens' log-probabilities.

        `untrained`: from the model before training. Duel asks for it only with `base.anchor.coef` above 0.
        """

    def logprobs(
        self, inputs: Sequence[ModelInput], completions: Sequence[Sequence[Completion]], *, temperature: float
    ) -> list[list[list[float]]]:
        """Return the log-probability of every token of every completion, (I, G, T), at this temperature."""

    def learn(
        self, inputs: Sequence[ModelInput], groups: Sequence[Group], anchors: Sequence[AnchorAnswer] = ()
    ) -> UpdateReport:
        """Update on one round: group i holds the completions of input i, with their rewards.

        `anchors` are answers of the untrained model to stay near; given only with `base.anchor.coef` above 0.
        """

    def save(self, directory: Path) -> None:
        """Write the weights for evaluation."""

    def load(self, directory: Path) -> None:
        """Load weights that `save` wrote."""

    def save_training_state(self, directory: Path) -> None:
        """Write weights, optimizer state, counters and accumulated gradients."""

    def load_training_state(self, directory: Path) -> None:
        """Restore them bit for bit."""


class LocalPolicy:
    """A Policy whose model, optimizer and KV cache are on one device. Not thread-safe."""

    def __init__(self, player: Player, tuning: Tuning, optimizer: PlayerOptimizer, settings: LearningSettings) -> None:
        self.player = player
        self.tuning = tuning
        self.optimizer = optimizer
        self.settings = settings
        self.decoder: StaticDecoder | None = None  # CUDA only: the captured graph of the last batch shape
        self._last_update: UpdateReport | None = None
        self._learning = False  # stays True if `learn` raised

    @property
    def model(self) -> Model:
        """The model that holds the player's weights."""
        return self.tuning.model

    @property
    def rounds_learned(self) -> int:
        """Number of rounds this player has learned from."""
        return self.optimizer.rounds_learned

    @property
    def optimizer_steps(self) -> int:
        """Number of optimizer steps taken."""
        return self.optimizer.steps

    @property
    def last_update(self) -> UpdateReport:
        """The report of the last `learn` call. Raises RunError if that call did not finish, or there was none."""
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
        untrained: bool = False,
    ) -> list[list[Completion]]:
        """Return one completion per seed of each input, (I, G), in one batch that prefills each distinct input once.

        `untrained` samples from the model before training, the reference, without a CUDA graph. Raises DataError for
        bytes that are not an image, SettingsError for an image given to a text-only model.
        """
        rows = self.sample_rows(
            inputs, seeds, temperature=temperature, max_new_tokens=max_new_tokens, untrained=untrained
        )
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
        untrained: bool = False,
    ) -> SampledRows | None:
        """Sample likewise; return tokens and log-probabilities as tensors, in input order. None if no seeds."""
        asked, place = distinct(inputs)
        prompt_of_row = [place[i] for i, group in enumerate(seeds) for _ in group]
        if not prompt_of_row:
            return None
        uniforms_BT = draw_uniforms([seed for group in seeds for seed in group], max_new_tokens)
        if untrained:
            with self.tuning.reference() as model:
                return sample_rows(model, _prefill(model, asked, prompt_of_row), uniforms_BT, temperature)
        with self.tuning.sampling():
            expanded = _prefill(self.model, asked, prompt_of_row)
            if self.model.device.type != "cuda" or not has_full_attention(self.model):
                return sample_rows(self.model, expanded, uniforms_BT, temperature)
            sampled, self.decoder = sample_rows_static(self.decoder, self.model, expanded, uniforms_BT, temperature)
            return sampled

    @torch.no_grad()
    def logprobs(
        self, inputs: Sequence[ModelInput], completions: Sequence[Sequence[Completion]], *, temperature: float
    ) -> list[list[list[float]]]:
        """Return the log-probability of every token of every completion, (I, G, T), at this temperature."""
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

    def learn(
        self, inputs: Sequence[ModelInput], groups: Sequence[Group], anchors: Sequence[AnchorAnswer] = ()
    ) -> UpdateReport:
        """Update on one round; the optimizer steps at the end of this player's accumulation window.

        Completions without reward, and groups with equal rewards, contribute no gradient. The gradient does not
        depend on how many completions one forward pass takes (up to rounding). Raises RunError after a call
        that did not finish: part of its gradient may have been accumulated.

        The update is skipped, and counted, when its loss, its gradient or an image's embedding is not finite: weights
        and moments stay, and the gradients of its accumulation window are dropped.
        """
        self._check_whole()
        self._learning = True
        batch = build_batch(inputs, groups, self.settings)
        with self.tuning.active():
            added = accumulate_gradient(self.tuning, batch, self.settings, self.optimizer.accumulation)
            anchored = accumulate_anchor(self.tuning, anchors, self.settings, self.optimizer.accumulation)
        loss = finite(added.loss + anchored.loss)
        if loss is None or not self.optimizer.is_finite() or any_unmeasured(groups):
            loss, norm = None, None
            self.optimizer.skip_round()
        else:
            norm = self.optimizer.end_round()
        self._learning = False
        self._last_update = UpdateReport(
            loss=loss,
            gradient_norm=norm,
            groups=len(groups),
            skipped_groups=batch.skipped_groups,
            rounds_learned=self.rounds_learned,
            optimizer_steps=self.optimizer_steps,
            logprob_gap_mean=finite(added.mean_gap),
            logprob_gap_max=finite(added.largest_gap),
            divergence=finite(added.divergence),
            anchor_divergence=finite(anchored.divergence),
            skipped_updates=self.optimizer.skipped,
        )
        return self._last_update

    def save(self, directory: Path) -> None:
        """Write the weights for evaluation: a PEFT adapter folder or a `save_pretrained` folder, with a model card."""
        self.tuning.save(directory)
        adapter, sees = isinstance(self.tuning, LoraTuning), self.model.processor is not None
        card = model_card(self.model.network, sees, self.player, self.rounds_learned, adapter)
        (directory / "README.md").write_text(card, encoding="utf-8")

    def load(self, directory: Path) -> None:
        """Load weights that `save` wrote. Raises RunError when they do not fit."""
        self.tuning.load(directory)

    def save_training_state(self, directory: Path) -> None:
        """Write fp32 weights, optimizer state, counters and accumulated gradients."""
        self.optimizer.save(directory)

    def load_training_state(self, directory: Path) -> None:
        """Restore them bit for bit. Raises RunError when they do not fit."""
        self.optimizer.load(directory)

    def _check_whole(self) -> None:
        if self._learning:
            raise RunError(
                f"an update of the {self.player} did not finish and cannot be repeated in this process; "
                "run the same command again, it resumes from the last checkpoint"
            )

    def _completions(self, rows: SampledRows) -> Iterator[Completion]:
        columns = (rows.tokens_BT, rows.logprobs_BT, rows.lengths_B, rows.finished_B)
        for padded, logprobs, length, finished in zip(*(column.tolist() for column in columns), strict=True):
            tokens = padded[:length]
            text = self.model.tokenizer.decode(tokens, skip_special_tokens=True).strip()
            yield Completion(text, " ".join(map(str, tokens)), finished, pack_logprobs(logprobs[:length]))


def _prefill(model: Model, inputs: Sequence[ModelInput], prompt_of_row: Sequence[int]) -> Prefix:
    """Prefill distinct inputs; return a prefix with one row per completion."""
    prefix = encode_prompts(model, build_prompts(model, inputs))
    return prefix.expand(torch.tensor(prompt_of_row, device=model.device))
