"""Opening the judge that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cache.answers import AnswerStore
from duel.charxiv import open_rubrics
from duel.judge import ExactJudge, Judge
from duel.settings import JudgeSettings


def check_judge(settings: JudgeSettings) -> None:
    """Raise SettingsError when the judge needs a key and there is none."""
    if settings.service == "openai":
        from duel.openai_judge import check_ready  # needs the client library

        check_ready()


@contextmanager
def open_judge(settings: JudgeSettings, dataset: Path, state: Path) -> Iterator[Judge]:
    """Open the judge; a paid one remembers its answers under the state directory.

    Raises SettingsError when it needs a key and there is none, DataError when `dataset` came without rubrics.
    """
    if settings.service == "exact":
        yield ExactJudge()
        return
    from duel.openai_judge import OpenAIJudge

    check_judge(settings)
    rubrics = open_rubrics(dataset)
    with (
        AnswerStore(state / "answers") as store,
        closing(
            OpenAIJudge(
                settings.model,
                rubrics,
                answer_once=store.answer_once,
                concurrency=settings.concurrency,
                timeout_seconds=settings.timeout_seconds,
                deadline_seconds=settings.deadline_seconds,
            )
        ) as judge,
    ):
        yield judge
