"""Evaluation stages: the proxy (similarity and reward under fixed seeds) and questions about charts (pass@1).

Both draw from their own random streams: evaluating changes no number of the training.
"""

from collections.abc import Sequence
from typing import Any

from duel.charxiv import of_kind
from duel.datasets import Dataset, first_charts, first_of_strata, set_aside
from duel.randomness import derive_seed
from duel.schedule import sample_seeds
from duel.settings import EvaluationSettings
from duel.types import Attempt, Completion, Drawing, Grade, ModelInput, ProxyMeasured, Question
from tasks.drawing import draw_groups, draws_asked
from tasks.places import Arena, Examination
from tasks.scoring import compare
from tasks.stages import stage
from tasks.writing import describe, invention, sample


@stage("evaluate_players", retries=3, title="after {round:04d} rounds {label}")
def evaluate_players(arena: Arena, round: int, how: EvaluationSettings) -> ProxyMeasured:
    """Measure the players on the held-out images and on fresh prompts; every evaluation uses the same seeds."""
    order = arena.settings.order
    base = evaluate_base(arena, how) if "base" in order else None
    adversary = evaluate_adversary(arena, how) if "adversary" in order else None
    asked = sum(found["draws_asked"] for found in (base, adversary) if found is not None)
    return ProxyMeasured(round, base, adversary, asked)


def evaluate_base(arena: Arena, how: EvaluationSettings) -> dict[str, Any]:
    """Describe and redraw every held-out image; similarities are means over an image's descriptions."""
    originals = [[arena.file_drawing(path)] for path in arena.dataset.test_images]
    attempts, _ = _go_around(arena, originals, how.proxy_completions, "held-out")
    strata, redrawn = evaluate_strata(arena, how)
    return {
        "images": [path.name for path in arena.dataset.test_images],
        "similarities": [_mean([attempt.similarity for attempt in group]) for group in attempts],
        "strata": strata,
        "draws_asked": draws_asked(_redrawn(attempts), redrawn),
    }


def evaluate_strata(arena: Arena, how: EvaluationSettings) -> tuple[dict[str, Any], list[list[Drawing]]]:
    """Do the same with the first images of each stratum; return what was found by stratum, and what was redrawn."""
    chosen = [(name, path) for name, paths in arena.dataset.strata.items() for path in paths[: how.charts_per_stratum]]
    if not chosen:
        return {}, []
    originals = [[arena.file_drawing(path)] for _, path in chosen]
    attempts, _ = _go_around(arena, originals, how.proxy_completions, "strata")
    found: dict[str, Any] = {}
    for (name, path), group in zip(chosen, attempts, strict=True):
        stratum = found.setdefault(name, {"images": [], "similarities": []})
        stratum["images"].append(path.name)
        stratum["similarities"].append(_mean([attempt.similarity for attempt in group]))
    return found, _redrawn(attempts)


def evaluate_adversary(arena: Arena, how: EvaluationSettings) -> dict[str, Any]:
    """Sample prompts, draw them, let the base describe each once; one reward per prompt."""
    count = how.adversary_prompts
    seeds = sample_seeds(arena.settings.seed, count, 1, "evaluation", "prompt")
    prompts = sample(arena, "adversary", [invention(arena)] * count, seeds)  # (count, 1)
    originals = draw_groups(arena, prompts, "evaluation", "original")
    attempts, descriptions = _go_around(arena, originals, 1, "prompt")
    return {
        "prompts": [prompt.text for [prompt] in prompts],
        "descriptions": [text.text for [text] in descriptions],
        "similarities": [attempt.similarity for [attempt] in attempts],
        "rewards": [attempt.reward for [attempt] in attempts],
        "draws_asked": draws_asked(originals, _redrawn(attempts)),
    }


@stage("answer_questions", cached=False, title="ckpt-{round} {label}")
def answer_questions(examination: Examination, round: int, questions: list[Question]) -> list[list[Completion]]:
    """Let the base answer each question `evaluation.completions` times, all in one batch, (questions, completions)."""
    evaluation = examination.settings.evaluation
    inputs = [
        ModelInput(
            question.instruction or evaluation.answer.replace("{question}", question.question),
            (examination.dataset.root / question.image_path).read_bytes(),
        )
        for question in questions
    ]
    seeds = [
        [
            derive_seed(examination.settings.seed, "answer", q.figure_id, q.question, i)
            for i in range(evaluation.completions)
        ]
        for q in questions
    ]
    return examination.players["base"].sample(
        inputs, seeds, temperature=evaluation.temperature, max_new_tokens=evaluation.max_new_tokens
    )


@stage("grade_answers", retries=3, cached=False, title="ckpt-{round} {label}")
def grade_answers(
    examination: Examination, round: int, questions: list[Question], answers: list[list[Completion]]
) -> list[list[Grade]]:
    """Let the judge grade every answer, (questions, completions)."""
    return examination.judge.grade_all(questions, [[answer.text for answer in row] for row in answers])


def evaluation_questions(settings: EvaluationSettings, dataset: Dataset) -> list[Question]:
    """Return the fixed questions of an evaluation: those of the final number, of strata, and those set aside.

    Raises DataError when more charts are set aside than there are.
    """
    final, apart = set_aside(without_stratum(dataset), settings.development_charts)
    strata = first_of_strata(dataset.questions, settings.charts_per_stratum)
    return of_kind([*first_charts(final, settings.charts), *strata, *apart], settings.questions)


def development_figures(settings: EvaluationSettings, dataset: Dataset) -> set[str]:
    """Return the figure ids of the charts set aside for choosing a checkpoint."""
    return {question.figure_id for question in set_aside(without_stratum(dataset), settings.development_charts)[1]}


def without_stratum(dataset: Dataset) -> list[Question]:
    """Return the questions that pass@1 is made of."""
    return [question for question in dataset.questions if question.stratum is None]


def _go_around(
    arena: Arena, originals: list[list[Drawing]], per_image: int, stream: str
) -> tuple[list[list[Attempt]], list[list[Completion]]]:
    descriptions = describe(arena, originals, per_image, "evaluation", stream)
    reconstructions = draw_groups(arena, descriptions, "evaluation", "reconstruction", stream)
    return compare(arena, originals, reconstructions, "adversary"), descriptions


def _redrawn(attempts: list[list[Attempt]]) -> list[list[Drawing]]:
    return [[attempt.reconstruction for attempt in group] for group in attempts]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
