"""What each command does: check what can be checked at once, call the flow, say where to look."""

from pathlib import Path

from artifacts.report import summary_lines
from artifacts.run import RunDirectory
from duel.settings import Settings, read_profile, read_settings
from flows import evaluate as evaluate_flow
from flows import prepare as prepare_flow
from flows import report as report_flow
from flows import train as train_flow
from flows.profiles import profile_path
from tasks.judging import check_judge
from tasks.keys import find_hub_token, model_names, opened
from tasks.preparing import open_dataset
from tasks.services import check_generator

DEMO, ARM = "demo", "demo-no-adversary"


def prepare(settings: Settings, state: Path) -> None:
    """Get the data set ready."""
    print(f"data set: {prepare_flow.prepare(settings, state)}")


def train(settings: Settings, run: str, state: Path) -> None:
    """Train, or go on training."""
    open_dataset(settings.data, state)
    check_generator(settings.generator)
    check_models(settings)
    RunDirectory.open(state, run, settings).close()
    train_flow.train(settings, run, state)
    print(f"run: {state / 'runs' / run}; next: duel evaluate --run {run}, duel report --run {run}")


def check_models(settings: Settings) -> None:
    """Raise SettingsError when a model that the settings name is not there; reads no weights."""
    from duel.embedder import check_embedder  # eight seconds of import that no other command needs
    from duel.models import check_model

    hub_token = opened(find_hub_token(model_names(settings)))
    for name in {settings.models.base, settings.models.adversary} - {None}:
        check_model(str(name), hub_token)
    check_embedder(settings.models, hub_token)


def evaluate(settings: Settings, run: str, state: Path) -> None:
    """Measure pass@1 of every checkpoint."""
    open_dataset(settings.data, state)
    check_judge(settings.judge)
    ended = evaluate_flow.evaluate(settings, run, state, return_state=True)
    ended.result()  # raises what the flow raised
    print(ended.message)
    print(f"results: {state / 'runs' / run / 'ckpt_tests'}")


def report(settings: Settings, run: str, compare: str | None, state: Path) -> None:
    """Write plots and report."""
    if compare is not None:
        RunDirectory.read(state, compare)
    print(f"report: {report_flow.report(settings, run, compare, state)}")


def demo(state: Path) -> None:
    """Run everything offline: the duel, the arm without adversary, evaluation of both, report."""
    settings = profile("offline")
    prepare(settings, state)
    for run, name in ((DEMO, "offline"), (ARM, "offline-no-adversary")):
        train(profile(name), run, state)
        evaluate(profile(name), run, state)
    report(settings, DEMO, ARM, state)
    print()
    for line in summary_lines(RunDirectory.read(state, DEMO)):
        print(line)


def profile(name: str) -> Settings:
    """Return the settings of a shipped profile."""
    return read_settings(read_profile(profile_path(name)))
