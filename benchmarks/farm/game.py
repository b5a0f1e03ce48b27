"""The rounds of all runs, side by side: prompts, drawings, descriptions, reconstructions, rewards, updates.

Dimensions: A runs, N images of a run, K descriptions of each, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.farm.arms import Arm
from benchmarks.farm.charts import ChartImages
from benchmarks.farm.decode import Sampler
from benchmarks.farm.learn import (
    ANCHOR_IMAGES,
    ROWS,
    Objective,
    Sampled,
    add_anchor_gradient,
    add_grpo_gradient,
    anchor_images,
    numbers_of,
    slices_of_rows,
)
from benchmarks.farm.lora import StackedLora
from benchmarks.farm.metrics import adversary_metrics, length_metrics
from benchmarks.farm.model import MOST_TOKENS, StackedModel
from benchmarks.farm.rewards import advantages_or_zeros, adversary_rewards
from benchmarks.farm.runs import Described, Run, group_runs, slices, stack_uniforms, training_charts
from duel import instructions
from duel.randomness import derive_seed, draw_seed

TEMPERATURE = 0.9
Work = dict[int, list[Described]]  # by run number


class Farm:
    """All runs of this process."""

    def __init__(self, named: Sequence[tuple[str, Arm, int]], images: ChartImages, model: StackedModel) -> None:
        """Start runs, given as (name, arm, seed)."""
        self.images, self.model, self.sampler = images, model, Sampler(model)
        self.runs = [
            Run(name, arm, seed, number, images.draw_charts(training_charts(arm, seed)))
            for number, (name, arm, seed) in enumerate(named)
        ]
        self.base = self._adapters("base", [run.arm.rate for run in self.runs])
        self.adversary = self._adapters("adversary", [run.arm.adversary_rate for run in self.runs])
        self.describe_prompt = model.prompt(instructions.DESCRIBE, True)
        self.invent_prompt = model.prompt(instructions.INVENT, False)

    def _adapters(self, player: str, rates: list[float]) -> StackedLora:
        seeds = [derive_seed(run.seed, "adapter", player) for run in self.runs]
        return StackedLora(self.model.decoder.layers, seeds, rates, self.model.device)

    def play_round(self, index: int) -> None:
        """Play one round of every run; both players of a run learn from its draws as its arm says."""
        asking = [run for run in self.runs if run.draws_fresh(index)]
        written = self.write_prompts(asking, index)
        work = self.choose_images(asking, written, index)
        described = self.describe(work, index)
        self.redraw(work)
        ceilings = self.measure_ceilings(asking, work)
        rows: dict[int, dict[str, Any]] = {}
        for run in self.runs:
            rows[run.number] = self.note_round(run, work[run.number], ceilings.get(run.number), index)
        self.teach_base(work, described, rows, index)
        self.teach_adversary(asking, written, work, ceilings, rows, index)
        for run in self.runs:
            run.rounds.append({"round": index, "draws": len(run.paid), **rows[run.number]})

    def write_prompts(self, asking: Sequence[Run], index: int) -> list[tuple[list[Run], Sampled]]:
        """Sample a group of prompts for each run that draws fresh ones."""
        written = []
        for (count, temperature), runs in group_runs(asking, lambda run: (run.arm.fresh, run.arm.temperature)).items():
            weights = self.model.merge(self.adversary, numbers_of(runs, self.model.device), len(runs))
            uniforms = stack_uniforms(runs, (1, count, MOST_TOKENS), index, "prompt").to(self.model.device)
            tokens, lengths = self.sampler.sample(weights, self.invent_prompt, None, uniforms, temperature)
            written.append((runs, Sampled(self.invent_prompt, None, tokens, lengths)))
        return written

    def choose_images(self, asking: Sequence[Run], written: list[tuple[list[Run], Sampled]], index: int) -> Work:
        """Draw the prompts; other runs take images of the data set, or replay drawings."""
        texts: dict[int, list[str]] = {}
        for runs, sampled in written:
            for place, run in enumerate(runs):
                texts[run.number] = self.model.decode(sampled.tokens[place])
        requests = {
            run.number: [(text, draw_seed(run.seed, index, i)) for i, text in enumerate(texts[run.number])]
            for run in asking
        }
        drawings = iter(self.images.draw([request for row in requests.values() for request in row], originals=True))
        work: Work = {}
        for run in asking:
            for request in requests[run.number]:
                run.pay(request, "drawings")
            work[run.number] = [Described(next(drawings), text) for text in texts[run.number]]
        for run in self.runs:
            if run.number not in work:
                work[run.number] = [Described(image) for image in run.known_images(index)]
        return work

    def describe(self, work: Work, index: int) -> list[tuple[list[Run], Sampled]]:
        """Sample K descriptions of every image of every run, into `work`."""
        described = []
        for (count, k), runs in group_runs(self.runs, lambda run: (len(work[run.number]), run.arm.k)).items():
            images = self.images.tokens_of([[one.image for one in work[run.number]] for run in runs])
            uniforms = stack_uniforms(runs, (count, k, MOST_TOKENS), index, "describe").to(self.model.device)
            with torch.no_grad():
                weights = self.model.merge(self.base, numbers_of(runs, self.model.device), len(runs))
            tokens, lengths = self.sampler.sample(weights, self.describe_prompt, images, uniforms, TEMPERATURE)
            texts = iter(self.model.decode(tokens))
            for run in runs:
                for one in work[run.number]:
                    one.texts = [next(texts) for _ in range(k)]
            described.append((runs, Sampled(self.describe_prompt, images, tokens, lengths)))
        return described

    def redraw(self, work: Work) -> None:
        """Draw the descriptions, and measure the similarity of each to its image, into `work`."""
        requests = []
        for run in self.runs:
            for one in work[run.number]:
                new = [(text, run.redraw_seed(one.image)) for text in one.texts]
                for request in new:
                    run.pay(request, "descriptions")
                requests += [(one, request) for request in new]
        drawn = self.images.draw([request for _, request in requests])
        pairs = [(one.image, digest) for (one, _), digest in zip(requests, drawn, strict=True)]
        for (one, _), similarity in zip(requests, self.images.similarities(pairs), strict=True):
            one.similarities.append(similarity)

    def measure_ceilings(self, asking: Sequence[Run], work: Work) -> dict[int, list[float]]:
        """Return the similarity of each fresh drawing to a second drawing of its prompt, by run number.

        Paid for only by runs that use it; for the others it is measured to be logged.
        """
        fresh = [(run, one) for run in asking for one in work[run.number]]
        requests = [(one.prompt, run.redraw_seed(one.image)) for run, one in fresh]
        drawn = self.images.draw(requests)
        pairs = [(one.image, digest) for (_, one), digest in zip(fresh, drawn, strict=True)]
        ceilings: dict[int, list[float]] = {}
        for (run, _), request, value in zip(fresh, requests, self.images.similarities(pairs), strict=True):
            if run.needs_ceilings:
                run.pay(request, "ceilings")
            ceilings.setdefault(run.number, []).append(value)
        return ceilings

    def note_round(self, run: Run, work: list[Described], ceilings: list[float] | None, index: int) -> dict[str, Any]:
        """Update the run's replay pool; return the round's metrics."""
        if run.arm.replay:
            for place, one in enumerate(work):
                run.pool.note(one.image, one.mean, ceilings[place] if ceilings else None, run.arm.gate, index)
        row: dict[str, Any] = {"similarity": sum(one.mean for one in work) / len(work)}
        if ceilings is None:
            return row
        return row | adversary_metrics(run, work, ceilings) | {"replay_age": run.pool.mean_age(index)}

    def teach_base(
        self, work: Work, described: list[tuple[list[Run], Sampled]], rows: dict[int, dict[str, Any]], index: int
    ) -> None:
        """Make one update of every base that learns in this round."""
        for runs, sampled in described:
            places = [place for place, run in enumerate(runs) if run.learns("base", index)]
            learning = [runs[place] for place in places]
            own = sampled[places]
            for part in slices_of_rows(own):
                these = learning[part]
                groups = [[advantages_or_zeros(one.similarities) for one in work[run.number]] for run in these]
                divergences = self._add_gradient("base", these, own[part], groups)
                for run, divergence, lengths in zip(these, divergences, own[part].lengths, strict=True):
                    rows[run.number] |= {"kl": divergence} | length_metrics(lengths)
        self._add_anchors([run for run in self.runs if run.arm.anchor and run.learns("base", index)], index)
        self.base.step(numbers_of([run for run in self.runs if run.learns("base", index)], self.model.device))

    def teach_adversary(
        self,
        asking: Sequence[Run],
        written: list[tuple[list[Run], Sampled]],
        work: Work,
        ceilings: dict[int, list[float]],
        rows: dict[int, dict[str, Any]],
        index: int,
    ) -> None:
        """Make one update of every adversary that learns in this round."""
        rewards = {
            run.number: adversary_rewards(run.arm, [one.mean for one in work[run.number]], ceilings[run.number])
            for run in asking
        }
        for run in asking:
            rows[run.number]["reward"] = sum(rewards[run.number]) / len(rewards[run.number])
        for runs, sampled in written:
            places = [place for place, run in enumerate(runs) if run.learns("adversary", index)]
            if places:
                these = [runs[place] for place in places]
                groups = [[advantages_or_zeros(rewards[run.number])] for run in these]
                divergences = self._add_gradient("adversary", these, sampled[places], groups)
                for run, divergence in zip(these, divergences, strict=True):
                    rows[run.number]["adversary_kl"] = divergence
                self.adversary.step(numbers_of(these, self.model.device))

    def _add_anchors(self, runs: Sequence[Run], index: int) -> None:
        """Add the anchor's gradient; every second round of most arms asks for answers after a description."""
        for reasoned, anchored in group_runs(runs, lambda run: run.arm.anchor_reasoned and index % 2 == 1).items():
            for part in slices(len(anchored), ANCHOR_IMAGES, ROWS):
                images = self.images.tokens_of([anchor_images(run, index) for run in anchored[part]])
                add_anchor_gradient(
                    self.sampler, self.base, anchored[part], images, index, TEMPERATURE, reasoned=reasoned
                )

    def _add_gradient(
        self, player: str, runs: Sequence[Run], sampled: Sampled, groups: list[list[list[float]]]
    ) -> list[float]:
        """Add the gradient of groups of advantages, (A, N, K); return each run's divergence from its untrained self."""
        is_base = player == "base"
        objective = Objective(
            torch.tensor(groups, device=self.model.device),
            [run.arm.kl if is_base else run.arm.adversary_kl for run in runs],
            [run.arm.normalisation == "completion" for run in runs],
        )
        lora, numbers = self.base if is_base else self.adversary, numbers_of(runs, self.model.device)
        temperature = TEMPERATURE if is_base else runs[0].arm.temperature  # one for all: they were sampled together
        return add_grpo_gradient(self.sampler, lora, numbers, sampled, objective, temperature).tolist()
