"""The commands prepare, train, evaluate, report and demo: check the input, call the flow, print where results are."""

import math
import sys
from typing import Any

from artifacts.evaluation.console import DIFFERENCE, comparison_lines, evaluation_lines, warning_lines
from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.strata import compare_strata_of_runs
from artifacts.evaluation.summary import summarise, summary_lines
from artifacts.evaluation.verdict import verdict_lines
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import read_training_log
from duel.errors import SettingsError
from duel.plugins import check_plugins
from duel.services.addresses import service_address
from duel.settings import Settings
from duel.settings.profile import read_profile, read_settings
from duel.state import StateDirectory
from flows import evaluate as evaluate_flow
from flows import prepare as prepare_flow
from flows import report as report_flow
from flows import train as train_flow
from flows.estimating import estimate_lines
from flows.profiles import profile_path
from tasks.credentials import find_hub_token, model_names, opened
from tasks.evaluating import evaluation_questions
from tasks.preparing import open_dataset
from tasks.recording import checkpoints_to_evaluate
from tasks.services import check_generator, check_judge

DEMO, ARM = "demo", "demo-no-adversary"


def prepare(settings: Settings, state: StateDirectory) -> None:
    """Write, download or check the data set, and print its directory."""
    print(f"data set: {prepare_flow.prepare(settings, state.path)}")


def train(settings: Settings, run: str, state: StateDirectory) -> None:
    """Check questions, keys, models and run directory, then train or resume. Raises UserError before Prefect starts."""
    evaluation_questions(settings.evaluation, open_dataset(settings.data, state))
    check_plugins(settings)
    check_generator(settings.generator)
    check_models(settings)
    with RunDirectory.open(state, run, settings) as directory:
        for warning in directory.warnings:
            print(f"duel: warning: {warning}", file=sys.stderr)
    train_flow.train(settings, run, state.path)
    for warning in warning_lines(read_evaluations(directory)):
        print(f"duel: {warning}", file=sys.stderr)
    print(f"run: {state.run(run)}; next: duel evaluate --run {run}, duel report --run {run}")


def estimate(settings: Settings, run: str, state: StateDirectory) -> list[str]:
    """Return the expected images, dollars and hours of a run as lines. Asks no service and writes nothing."""
    check_plugins(settings)
    return estimate_lines(settings, run, state)


def check_models(settings: Settings) -> None:
    """Raise SettingsError when a model named in the settings cannot be found; reads no weights."""
    from duel.devices import check_torchvision

    check_torchvision()  # before transformers is imported
    from duel.embedder import check_embedder  # eight seconds of import that no other command needs
    from duel.policies.models import check_model

    service_address("HF_ENDPOINT", "")
    hub_token = opened(find_hub_token(model_names(settings)))
    if settings.models.policy == "local":  # another policy knows what its models are called
        models = settings.models
        for name, revision in {(models.base, models.base_revision), (models.adversary, models.adversary_revision)}:
            if name is not None:
                check_model(name, hub_token, revision)
    check_embedder(settings.models, hub_token)


def evaluate(
    settings: Settings, run: str, state: StateDirectory, compare: str | None = None, power: str | None = None
) -> None:
    """Measure pass@1 of every checkpoint and print the results, optionally against another run.

    With `compare` or `power`, the flow is not started when every checkpoint is evaluated already.
    """
    difference = DIFFERENCE if power is None else read_difference(power)
    directory = RunDirectory.read(state, run, settings)
    other = None if compare is None else RunDirectory.read(state, compare)
    questions = evaluation_questions(settings.evaluation, open_dataset(settings.data, state))
    waiting = checkpoints_to_evaluate(directory, questions)
    if waiting:
        check_judge(settings.judge)
    if waiting or (compare is None and power is None):
        ended = evaluate_flow.evaluate(settings, run, state.path, return_state=True)
        ended.result()  # raises what the flow raised
        print(ended.message)
    ours = read_evaluations(directory)
    if other is None:
        lines = evaluation_lines(ours, difference)
    else:
        lines = comparison_lines(ours, read_evaluations(other), difference)
    print(*lines, sep="\n")
    print(f"results: {directory.path / 'results_summary.csv'}, {directory.checkpoint_tests}")


def read_difference(text: str) -> float:
    """Return the difference in pass@1 given with `--power`. Raises SettingsError unless it is between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise SettingsError(f"--power: got {text!r}, expected a difference in pass@1 between 0 and 1, such as 0.03")
    return value


def report(settings: Settings, run: str, compare: str | None, state: StateDirectory) -> None:
    """Write plots and report, and print the path of the report."""
    if compare is not None:
        RunDirectory.read(state, compare)
    print(f"report: {report_flow.report(settings, run, compare, state.path)}")


def demo(settings: Settings, state: StateDirectory) -> None:
    """Run everything offline: training with and without adversary, evaluation of both, report.

    The two profiles' rounds spend about as many draws; other numbers of rounds keep their proportion.
    """
    alone = profile("offline-no-adversary")
    rounds = max(1, settings.rounds * alone.rounds // profile("offline").rounds)
    prepare(settings, state)
    for run, arm in ((DEMO, settings), (ARM, profile("offline-no-adversary", rounds=rounds))):
        train(arm, run, state)
        evaluate(arm, run, state)
    report(settings, DEMO, ARM, state)
    runs = [RunDirectory.read(state, name) for name in (DEMO, ARM)]
    evaluations, logs = [read_evaluations(run) for run in runs], [read_training_log(run) for run in runs]
    print()
    print(*summary_lines(summarise(evaluations[0], logs[0])), sep="\n")
    print()
    draws = logs[0].draws_asked, logs[1].draws_asked
    print(*verdict_lines(compare_strata_of_runs(*evaluations), draws), sep="\n")


def profile(name: str, **replaced: Any) -> Settings:
    """Return the settings of a shipped profile, with the given top-level settings replaced."""
    return read_settings(read_profile(profile_path(name)) | replaced)
