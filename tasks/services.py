"""Opens the image generator and the judge that the settings name, and reads a run's spend from the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from artifacts.run.directory import RunDirectory
from cache.answer_store import AnswerStore
from cache.ledger import SpendLedger, Terms
from duel.data.charxiv import open_rubrics
from duel.errors import SettingsError
from duel.generators.base import ImageGenerator, check_identity
from duel.judges.base import Judge
from duel.judges.exact import ExactJudge
from duel.offline.generator import ChartGenerator
from duel.plugins import find_class, load_plugin
from duel.services.addresses import judge_address, normal_address
from duel.settings import GeneratorSettings, JudgeSettings, Settings, is_plugin
from duel.state import StateDirectory
from duel.types import Spend
from tasks.credentials import OPENAI, REPLICATE, find_hub_token, find_key, opened

if TYPE_CHECKING:
    from duel.judges.billing import Billing


def check_generator(settings: GeneratorSettings) -> None:
    """Raise UserError when the service needs a key and there is no usable one."""
    if settings.service == "replicate":
        replicate_token()


def replicate_token() -> SecretStr:
    """Return a well-formed token, without any request. Raises UserError when there is none."""
    from duel.generators.replicate.generator import check_ready  # needs the client library

    token = find_key(REPLICATE, "generator.service = 'replicate'")
    check_ready(token.get_secret_value())
    return token


@contextmanager
def open_generator(settings: Settings, run: str, state: StateDirectory) -> Iterator[ImageGenerator]:
    """Open the image generator; a paid one records its purchases in the spend ledger of the state directory.

    Raises UserError, before anything is written, when it cannot be opened.
    """
    chosen = settings.generator
    if is_plugin(chosen.service):
        with open_plugin("generator.service", chosen.service, ImageGenerator, chosen) as own:
            check_identity(own, f"generator.service = {chosen.service!r}")
            yield own
    elif chosen.service == "offline":
        yield ChartGenerator()
    elif chosen.service == "replicate":
        with open_replicate(settings, run, state) as replicate:
            yield replicate
    else:
        from duel.generators.diffusion import load_diffusion

        with load_diffusion(
            chosen.model,
            chosen.version,
            device=settings.models.device,
            parameters=chosen.parameters,
            prompt_limit=chosen.prompt_limit,
            batch_size=chosen.batch_size,
            hub_token=opened(find_hub_token([chosen.model])),
        ) as local:
            yield local


@contextmanager
def open_replicate(settings: Settings, run: str, state: StateDirectory) -> Iterator[ImageGenerator]:
    """Open Replicate's generator with the spend ledger, which keeps it within the budget."""
    from duel.generators.replicate.api import OFFICIAL
    from duel.generators.replicate.generator import ReplicateGenerator, check_ready
    from duel.generators.replicate.retries import RetrySettings

    chosen = settings.generator
    token = replicate_token().get_secret_value()
    address = normal_address(check_ready(token)[1])
    retries = RetrySettings(requests_per_minute=chosen.requests_per_minute, deadline=chosen.deadline_seconds)
    terms = Terms(address, chosen.model, chosen.version or OFFICIAL, chosen.attempts, settings.budget)
    with (
        SpendLedger(state.spend, run, chosen.price or 0.0, terms) as ledger,
        ReplicateGenerator(
            ledger, chosen.model, chosen.version, chosen.parameters, chosen.prompt_limit, retries, token
        ) as replicate,
    ):
        yield replicate


@contextmanager
def open_plugin(setting: str, name: str, protocol: type, *arguments: object, **named: object) -> Iterator[Any]:
    """Create an instance of a plug-in class; it is closed at the end if it has `close()`."""
    made = load_plugin(setting, name, protocol, *arguments, **named)
    with ExitStack() as stack:
        if callable(close := getattr(made, "close", None)):
            stack.callback(close)
        yield made


def check_judge(settings: JudgeSettings) -> None:
    """Raise SettingsError when the judge needs a key and there is none, or is a class that cannot be imported."""
    if settings.service == "openai":
        judge_key()
    elif is_plugin(settings.service):
        find_class("judge.service", settings.service)


def judge_key() -> SecretStr:
    """Return the API key of the paid judge. Raises SettingsError when there is none, or OPENAI_BASE_URL is no URL."""
    judge_address()
    return find_key(OPENAI, "judge.service = 'openai'")


@contextmanager
def open_judge(run: RunDirectory, dataset: Path, state: StateDirectory) -> Iterator[Judge]:
    """Open the judge; responses of a paid one are cached under the state directory.

    Raises SettingsError when it needs a key and there is none, DataError when `dataset` has no rubrics.
    """
    settings = run.settings.judge
    if is_plugin(settings.service):
        with open_plugin("judge.service", settings.service, Judge, settings, dataset=dataset) as own:
            yield own
        return
    if settings.service == "exact":
        yield ExactJudge()
        return
    from duel.judges.openai_judge import OpenAIJudge

    key = judge_key()
    rubrics = open_rubrics(dataset)
    with (
        AnswerStore(state.answers) as store,
        open_billing(run, state) as billing,
        closing(
            OpenAIJudge(
                settings.model,
                rubrics,
                api_key=key.get_secret_value(),
                answer_once=store.answer_once,
                billing=billing,
                concurrency=settings.concurrency,
                timeout_seconds=settings.timeout_seconds,
                deadline_seconds=settings.deadline_seconds,
            )
        ) as judge,
    ):
        yield judge


@contextmanager
def open_billing(run: RunDirectory, state: StateDirectory) -> Iterator[Billing | None]:
    """Open the spend ledger for the requests to a paid judge; None when the prices of its model are not known.

    Raises SettingsError when they are not, and the budget limits dollars.
    """
    from duel.judges.billing import Billing

    judge, budget = run.settings.judge, run.settings.budget
    if judge.prices is None:
        if budget.usd is not None or budget.usd_per_day is not None:
            raise SettingsError(
                f"the prices of judge.model = {judge.model!r} are not known, and the budget limits dollars; set "
                "judge.dollars_per_million_input and judge.dollars_per_million_output"
            )
        yield None
        return
    terms = Terms(judge_address(), judge.model, budget=budget)
    with SpendLedger(state.spend, run.name, terms=terms) as ledger:
        yield Billing(ledger, judge.prices)


def read_spend(run: RunDirectory) -> Spend | None:
    """Return the cost of a run's images; None when the ledger has no purchase of this run."""
    if not run.state.spend.exists():
        return None
    with SpendLedger(run.state.spend) as ledger:
        spend = ledger.spend(run.name)
    return spend if spend.outcomes or spend.grades else None
