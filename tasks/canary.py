"""The canary: a fixed handful of questions that every proxy evaluation puts to the base.

Training on descriptions can unlearn how to end an answer, long before anyone asks all questions of the test set.
"""

from collections.abc import Collection, Sequence

from duel import instructions
from duel.data.dataset import of_kind
from duel.evaluations import CanaryResult
from duel.images import read_image_file
from duel.judges.exact import ExactJudge, grades_by_text
from duel.randomness import derive_seed
from duel.settings import EvaluationSettings
from duel.types import Completion, ModelInput, Question
from tasks.context import TrainingContext

ANSWERS = 2  # sampled for each question


def ask_canary(context: TrainingContext, how: EvaluationSettings) -> CanaryResult | None:
    """Put the canary's questions to the base and grade the answers by equal text or number; None without questions.

    Answers have a random stream of their own, the same in every evaluation. No service is asked.
    """
    apart = context.settings.base.anchor.questions
    questions = canary_questions(context.dataset.questions, how.canary_questions, apart)
    if not questions:
        return None
    at_once = how.questions_at_once
    parts = [questions[start : start + at_once] for start in range(0, len(questions), at_once)]
    answers = [row for part in parts for row in _answers(context, how, part)]
    grades = ExactJudge().grade_all(questions, [[answer.text for answer in row] for row in answers])
    return CanaryResult(
        questions=[canary_key(question) for question in questions],
        scores=[sum(grade.score or 0.0 for grade in row) / ANSWERS for row in grades],
        unfinished=[sum(not answer.finished for answer in row) / ANSWERS for row in answers],
    )


def canary_questions(questions: Sequence[Question], count: int, apart: Collection[str] = ()) -> list[Question]:
    """Return the first `count` different reasoning questions, in the order of the test set, with short answers.

    Wordings of `apart`, the anchor's, are left out: what training holds directly says nothing about other abilities.
    """
    first: dict[str, Question] = {}
    for question in of_kind(questions, "reasoning"):
        if question.question not in apart and grades_by_text(question.ground_truth):
            first.setdefault(canary_key(question), question)
    return list(first.values())[:count]


def canary_key(question: Question) -> str:
    """Name a question of the canary."""
    return f"{question.figure_id}: {question.question}"


def _answers(context: TrainingContext, how: EvaluationSettings, questions: list[Question]) -> list[list[Completion]]:
    """Sample answers, (Q, ANSWERS). All are asked for in a word or number: equal text can grade short ones only."""
    inputs = [
        ModelInput(
            instructions.ANSWER.replace("{question}", question.question),
            read_image_file(context.dataset.root / question.image_path),
        )
        for question in questions
    ]
    names = [("canary", question.figure_id, question.question) for question in questions]
    seeds = [[derive_seed(context.settings.seed, *name, i) for i in range(ANSWERS)] for name in names]
    return context.players["base"].sample(inputs, seeds, temperature=how.temperature, max_new_tokens=how.max_new_tokens)
