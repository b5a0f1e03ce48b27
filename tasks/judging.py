"""Opening the judge that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pydantic import SecretStr

from cache.answers import AnswerStore
from duel.charxiv import open_rubrics
from duel.judge import ExactJudge, Judge
from duel.settings import JudgeSettings
from tasks.keys import OPENAI, find_key


def check_judge(settings: JudgeSettings) -> None:
    """Raise SettingsError when the judge needs a key and there is none."""
    if settings.service == "openai":
        judge_key()


def judge_key() -> SecretStr:
    """Return the key of the paid judge. Raises SettingsError when there is none."""
    return find_key(OPENAI, "judge.service = 'openai'")


@contextmanager
def open_judge(settings: JudgeSettings, dataset: Path, state: Path) -> Iterator[Judge]:
    """Open the judge; a paid one remembers its answers under the state directory.

    Raises SettingsError when it needs a key and there is none, DataError when `dataset` came without rubrics.
    """
    if settings.service == "exact":
        yield ExactJudge()
        return
    from duel.openai_judge import OpenAIJudge

    key = judge_key()
    rubrics = open_rubrics(dataset)
    with (
        AnswerStore(state / "answers") as store,
        closing(
            OpenAIJudge(
                settings.model,
                rubrics,
                api_key=key.get_secret_value(),
                answer_once=store.answer_once,
                concurrency=settings.concurrency,
                timeout_seconds=settings.timeout_seconds,
                deadline_seconds=settings.deadline_seconds,
            )
        ) as judge,
    ):
        yield judge
