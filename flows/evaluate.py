"""The evaluation flow: pass@1 of the untrained base and of every checkpoint, on questions training never sees."""

from pathlib import Path

from prefect import flow
from tqdm import tqdm

from artifacts.checkpoint_tests import evaluation_json
from duel.settings import Settings
from duel.types import Completion, Grade, Question
from tasks.evaluating import answer_questions, evaluation_questions, grade_answers
from tasks.places import Examination, open_examination
from tasks.recording import checkpoints_to_evaluate, record_answers


@flow(name="evaluate", flow_run_name="{run}")
def evaluate(settings: Settings, run: str, state: Path = Path("state")) -> None:
    """Evaluate every checkpoint that has no result for these questions yet; `ckpt-0` is the untrained base."""
    with open_examination(settings, run, state) as arena:
        questions = evaluation_questions(arena)
        waiting = checkpoints_to_evaluate(arena, questions) if questions else []
        for checkpoint in tqdm(waiting, desc=f"{run}: questions to checkpoints"):
            arena.players["base"].load(checkpoint.weights("base"))
            answers, grades = question_base(arena, checkpoint.rounds_done, questions)
            result = evaluation_json(checkpoint.name, questions, answers, grades)
            record_answers(arena, checkpoint, questions, result)


def question_base(
    arena: Examination, rounds: int, questions: list[Question]
) -> tuple[list[list[Completion]], list[list[Grade]]]:
    """Put all questions to the base as it is now, `questions_at_once` in a batch; return answers and grades."""
    size = arena.settings.evaluation.questions_at_once
    answers: list[list[Completion]] = []
    grades: list[list[Grade]] = []
    for start in range(0, len(questions), size):
        batch = questions[start : start + size]
        given = answer_questions(arena, rounds, batch)
        answers += given
        grades += grade_answers(arena, rounds, batch, given)
    return answers, grades
