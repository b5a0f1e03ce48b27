"""Evaluation stages: the proxy (similarity, reward, canary; under fixed seeds) and questions about charts (pass@1).

Both use random streams of their own, so that evaluating does not change the training.
"""

from itertools import chain, islice
from pathlib import Path

from duel.data.dataset import Dataset, first_charts, first_of_strata, of_kind, set_aside
from duel.evaluations import AdversaryEvaluation, BaseEvaluation, ProxyEvaluation, StratumEvaluation
from duel.images import read_image_file
from duel.randomness import derive_seed, sample_seeds
from duel.scoring import reward_attempts
from duel.settings import EvaluationSettings
from duel.types import Completion, Drawing, DrawnGroups, Grade, ModelInput, Question
from tasks.canary import ask_canary
from tasks.context import EvaluationContext, TrainingContext
from tasks.drawing import draw_groups, drawn_ones, draws_asked
from tasks.scoring import compare_images
from tasks.stages import stage
from tasks.writing import describe, invention, sample


@stage("evaluate_players", retries=3, title="after {round:04d} rounds {label}")
def evaluate_players(context: TrainingContext, round: int, how: EvaluationSettings) -> ProxyEvaluation:
    """Evaluate the players on held-out images and on fresh prompts; every evaluation uses the same seeds."""
    trained = context.settings.schedule.players
    purpose = f"eval-{round:04d}"
    base = evaluate_base(context, how, purpose) if "base" in trained else None
    adversary = evaluate_adversary(context, how, purpose) if "adversary" in trained else None
    return ProxyEvaluation(round, base, adversary)


def evaluate_base(context: TrainingContext, how: EvaluationSettings, purpose: str) -> BaseEvaluation:
    """Describe and redraw every held-out image and the first images of each stratum, and ask the canary questions.

    An image's similarity is the mean over its descriptions.
    """
    held_out = context.dataset.test_images
    similarities, redrawn = _mean_similarities(context, held_out, how.proxy_completions, purpose, "held-out")
    chosen = {name: paths[: how.charts_per_stratum] for name, paths in context.dataset.strata.items()}
    hard = [path for paths in chosen.values() for path in paths]
    of_strata, redrawn_strata = _mean_similarities(context, hard, how.proxy_completions, purpose, "strata")
    found = iter(of_strata)
    return BaseEvaluation(
        images=[path.name for path in held_out],
        similarities=similarities,
        draws_asked=draws_asked(redrawn.drawings, redrawn_strata.drawings),
        draws_made=redrawn.made + redrawn_strata.made,
        canary=ask_canary(context, how),
        strata=[
            StratumEvaluation(name, images=[path.name for path in paths], similarities=list(islice(found, len(paths))))
            for name, paths in chosen.items()
            if paths
        ],
    )


def evaluate_adversary(context: TrainingContext, how: EvaluationSettings, purpose: str) -> AdversaryEvaluation:
    """Sample prompts, draw each, describe and redraw each drawing; the prompts are rewarded as one group.

    Each drawing is described once, or `sampling.descriptions` times where the reward is the spread of descriptions.
    """
    spread = context.settings.rewards.adversary == "learnability"
    per_image = context.settings.sampling.descriptions if spread else 1
    count = how.adversary_prompts
    seeds = sample_seeds(context.settings.seed, count, 1, "evaluation", "invention")
    prompts = sample(context, "adversary", [invention(context)] * count, seeds)  # (count, 1)
    originals = draw_groups(context, prompts, f"{purpose}/original", "evaluation", "original")
    _, redrawn = _go_around(context, originals.drawings, per_image, purpose, "prompt")
    ceilings = DrawnGroups([], made=0)
    if context.rewards.needs_ceiling:
        again = drawn_ones(prompts, originals.drawings)
        ceilings = draw_groups(context, again, f"{purpose}/ceiling", "evaluation", "ceiling")
    drawn = (originals.drawings, redrawn.drawings, ceilings.drawings)
    first, second, again_drawn = ([list(chain(*rows))] if rows else [] for rows in drawn)
    described = compare_images(context, first, second, again_drawn)  # (1, count)
    [attempts] = reward_attempts(described, "adversary", context.rewards)
    return AdversaryEvaluation(
        prompts=[prompt.text for [prompt] in prompts],
        descriptions=[attempt.reconstruction.text for attempt in attempts],
        similarities=[attempt.similarity for attempt in attempts],
        rewards=[attempt.reward for attempt in attempts],
        draws_asked=draws_asked(*drawn),
        draws_made=originals.made + redrawn.made + ceilings.made,
        ceilings=[attempt.ceiling for attempt in attempts] if ceilings.drawings else [],
    )


@stage("answer_questions", cached=False, title="ckpt-{round} {label}")
def answer_questions(context: EvaluationContext, round: int, questions: list[Question]) -> list[list[Completion]]:
    """Sample `evaluation.completions` answers of the base to each question in one batch, (questions, completions)."""
    evaluation = context.settings.evaluation
    inputs = [
        ModelInput(
            question.instruction or evaluation.answer.replace("{question}", question.question),
            read_image_file(context.dataset.root / question.image_path),
        )
        for question in questions
    ]
    seeds = [
        [
            derive_seed(context.settings.seed, "answer", q.figure_id, q.question, i)
            for i in range(evaluation.completions)
        ]
        for q in questions
    ]
    return context.players["base"].sample(
        inputs, seeds, temperature=evaluation.temperature, max_new_tokens=evaluation.max_new_tokens
    )


@stage("grade_answers", retries=3, cached=False, title="ckpt-{round} {label}")
def grade_answers(
    context: EvaluationContext, round: int, questions: list[Question], answers: list[list[Completion]]
) -> list[list[Grade]]:
    """Return the judge's grade of every answer, (questions, completions)."""
    return context.judge.grade_all(questions, [[answer.text for answer in row] for row in answers])


def evaluation_questions(settings: EvaluationSettings, dataset: Dataset) -> list[Question]:
    """Return the questions of an evaluation: those that count for the result, on strata, and on development charts.

    Raises DataError unless there are more charts than development charts.
    """
    final, apart = set_aside(_outside_strata(dataset), settings.development_charts)
    strata = first_of_strata(dataset.questions, settings.charts_per_stratum)
    return of_kind([*first_charts(final, settings.charts), *strata, *apart], settings.questions)


def development_figures(settings: EvaluationSettings, dataset: Dataset) -> set[str]:
    """Return the figure ids of the development charts, which serve to choose a checkpoint."""
    return {question.figure_id for question in set_aside(_outside_strata(dataset), settings.development_charts)[1]}


def _outside_strata(dataset: Dataset) -> list[Question]:
    return [question for question in dataset.questions if question.stratum is None]


def _mean_similarities(
    context: TrainingContext, images: list[Path], per_image: int, purpose: str, stream: str
) -> tuple[list[float | None], DrawnGroups]:
    """Describe and redraw image files; return each image's mean similarity, and the reconstructions."""
    if not images:
        return [], DrawnGroups([], made=0)
    originals = [[context.file_drawing(path)] for path in images]
    _, redrawn = _go_around(context, originals, per_image, purpose, stream)
    described = compare_images(context, originals, redrawn.drawings, [])  # (images, 1)
    return [image.mean_similarity for [image] in described], redrawn


def _go_around(
    context: TrainingContext, originals: list[list[Drawing]], per_image: int, purpose: str, stream: str
) -> tuple[list[list[Completion]], DrawnGroups]:
    """Describe and redraw the originals; return descriptions and reconstructions."""
    descriptions = describe(context, originals, per_image, "evaluation", stream)
    purpose = f"{purpose}/reconstruction/{stream}"
    return descriptions, draw_groups(context, descriptions, purpose, "evaluation", "reconstruction", stream)
