"""Evaluation: every base describes held-out charts of all strata and answers questions about them.

All runs see the same charts with the same random numbers.
"""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.farm.game import TEMPERATURE, Farm
from benchmarks.farm.learn import numbers_of
from benchmarks.farm.model import ANSWER_TOKENS, MOST_TOKENS
from benchmarks.farm.questions import ANSWERS, ASKED
from benchmarks.farm.runs import Run, slices
from duel import instructions
from duel.judges.exact import final_answer
from duel.offline.charts import Chart
from duel.offline.strata import STRATA, sample_stratum
from duel.randomness import DRAW_SEEDS, derive_seed, stream, torch_stream

CHARTS_SEED, SAMPLE_SEED = 77, 5
ANSWERS_EACH, ANSWER_TEMPERATURE = 2, 0.7
ROWS = 2400  # charts described in one batch


class Evaluation:
    """The held-out charts."""

    def __init__(self, farm: Farm, charts: int) -> None:
        """Draw `charts` charts of each stratum."""
        self.farm, self.model = farm, farm.model
        self.charts: dict[str, list[Chart]] = {
            stratum: [sample_stratum(stream(CHARTS_SEED, "strata", stratum, i), stratum) for i in range(charts)]
            for stratum in STRATA
        }
        self.digests = {stratum: farm.images.draw_charts(drawn) for stratum, drawn in self.charts.items()}

    @torch.no_grad()
    def evaluate(self, index: int, seconds: float) -> None:
        """Add to every run: round, draws, seconds since the start, and per chart similarity and share of right answers.

        Keys are strata for similarities, "stratum: question" for answers, which are asked for at once ("answers") and
        after a description ("reasoned").
        """
        for part in slices(len(self.farm.runs), max(1, len(self.charts["common"])), ROWS):
            runs = self.farm.runs[part]
            weights = self.model.merge(self.farm.base, numbers_of(runs, self.model.device), len(runs))
            similarity: list[dict[str, Any]] = [{} for _ in runs]
            answers: list[dict[str, Any]] = [{} for _ in runs]
            reasoned: list[dict[str, Any]] = [{} for _ in runs]
            for stratum in STRATA:
                for place, values in enumerate(self._describe(stratum, runs, weights)):
                    similarity[place][stratum] = [round(value, 4) for value in values]
                for question in ASKED[stratum]:
                    for place, shares in enumerate(self._answer(stratum, question, runs, weights)):
                        answers[place][f"{stratum}: {question}"] = shares
                    for place, shares in enumerate(self._reason(stratum, question, runs, weights)):
                        reasoned[place][f"{stratum}: {question}"] = shares
            for run, similar, at_once, after in zip(runs, similarity, answers, reasoned, strict=True):
                row = {"round": index, "draws": len(run.paid), "seconds": round(seconds, 1)}
                run.evaluations.append({**row, "similarity": similar, "answers": at_once, "reasoned": after})

    def _describe(self, stratum: str, runs: list[Run], weights: Any) -> list[list[float]]:
        """Return each run's similarity of each chart to the drawing of its description."""
        digests = self.digests[stratum]
        tokens = self._sample(weights, instructions.DESCRIBE, stratum, (1, MOST_TOKENS), "evaluation", stratum)
        seeds = [derive_seed(SAMPLE_SEED, "redraw", stratum, i) % DRAW_SEEDS for i in range(len(digests))]
        drawn = self.farm.images.draw(list(zip(tokens, seeds * len(runs), strict=True)))
        values = self.farm.images.similarities(list(zip(digests * len(runs), drawn, strict=True)))
        return [values[start : start + len(digests)] for start in range(0, len(values), len(digests))]

    def _answer(self, stratum: str, question: str, runs: list[Run], weights: Any) -> list[list[float]]:
        """Return each run's share of right answers for each chart."""
        instruction = instructions.ANSWER.format(question=question)
        shape = (ANSWERS_EACH, ANSWER_TOKENS)
        texts = iter(self._sample(weights, instruction, stratum, shape, "answer", stratum, question))
        truths = [ANSWERS[question](chart) for chart in self.charts[stratum]]
        return [
            [sum(next(texts) == truth for _ in range(ANSWERS_EACH)) / ANSWERS_EACH for truth in truths] for _ in runs
        ]

    def _reason(self, stratum: str, question: str, runs: list[Run], weights: Any) -> list[list[float]]:
        """Return for each run and chart whether the answer after a description is right (1.0 or 0.0)."""
        instruction = instructions.REASON.format(question=question)
        shape = (1, MOST_TOKENS + ANSWER_TOKENS)
        texts = iter(self._sample(weights, instruction, stratum, shape, "reasoned", stratum, question))
        truths = [ANSWERS[question](chart) for chart in self.charts[stratum]]
        return [[float(final_answer(next(texts)) == truth) for truth in truths] for _ in runs]

    def _sample(self, weights: Any, instruction: str, stratum: str, shape: tuple[int, int], *names: str) -> list[str]:
        """Return completions of every run for every chart, `shape` (completions, tokens) each."""
        A, digests = len(weights[0]["qkv"]), self.digests[stratum]
        temperature = TEMPERATURE if instruction == instructions.DESCRIBE else ANSWER_TEMPERATURE
        images = self.farm.images.tokens_of([digests]).expand(A, -1, -1, -1)
        uniforms = torch.rand(1, len(digests), *shape, generator=torch_stream(SAMPLE_SEED, *names))
        uniforms = uniforms.expand(A, -1, -1, -1).to(self.model.device)
        prompt = self.model.prompt(instruction, True)
        return self.model.decode(self.farm.sampler.sample(weights, prompt, images, uniforms, temperature)[0])
