"""The command line: `duel prepare | train | evaluate | report | status | settings | demo`.

Options and settings are checked before Prefect or torch is imported. Exit codes: 0 done, 1 a service failed or Duel
has a bug, 2 wrong input or settings, 130 interrupted (Ctrl-C), 143 terminated.
"""

from __future__ import annotations

import argparse
import difflib
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duel
from duel.errors import DuelError, SettingsError, UserError, storage_error
from duel.settings import Settings
from duel.settings.profile import fields_of, override, read_profile, read_settings
from duel.settings.typed import parse_value
from duel.state import StateDirectory
from flows.profiles import profile_names, profile_path
from flows.settings_page import settings_page
from flows.signals import STOPPED, stoppable

# Read by Prefect when it is imported; `[tool.prefect]` in pyproject.toml holds the same values for Prefect's own
# commands. With larger or slower batches, a process that ends would lose the task runs not yet recorded.
PREFECT_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    # Whole seconds: Prefect 3.8 cuts 0.5 to 0, and its server then spins a core.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # errors reach the console once, from here
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command (None: that of `sys.argv`) and return its exit code; SIGTERM leaves by SystemExit(143)."""
    for name, value in PREFECT_DEFAULTS.items():
        os.environ.setdefault(name, value)
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # plug-in classes may be modules of the current directory
    if isinstance(sys.stdout, io.TextIOWrapper):  # else a path with an umlaut ends a command where output is ASCII
        sys.stdout.reconfigure(errors="backslashreplace")
    parser = build_parser()
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:
            raise SettingsError(explain_unknown(unknown[0]))
        with stoppable():
            run_command(options)
    except UserError as error:
        print(f"duel: {error}", file=sys.stderr)
        return 2
    except DuelError as error:
        print(f"duel: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return 130
    except Exception as error:
        found = storage_error(error)
        if found is None:
            raise
        print(f"duel: {found}", file=sys.stderr)
        return 2
    return 0


def run_command(options: argparse.Namespace) -> None:
    """Read the settings and run the command. Raises UserError for wrong settings, before anything is written."""
    if options.command == "status":
        print_status(StateDirectory(options.state), options.run)
        return
    if options.command == "settings":
        print(settings_page(), end="")
        return
    settings = demo_settings(options) if options.command == "demo" else settings_of(options)
    check_prefect_home()
    from flows import commands  # torch and Prefect take seconds to import: only once the settings are valid

    state = StateDirectory(options.state)
    if options.command == "demo":
        commands.demo(settings, state)
    elif options.command == "prepare":
        commands.prepare(settings, state)
    elif options.command == "train":
        if options.estimate:
            print(*commands.estimate(settings, options.run, state), sep="\n")
        else:
            commands.train(settings, options.run, state)
    elif options.command == "evaluate":
        commands.evaluate(settings, options.run, state, options.compare, options.power)
    else:
        commands.report(settings, options.run, options.compare, state)


def check_prefect_home() -> None:
    """Create the folder of Prefect's database. Raises SettingsError where that cannot be written.

    Prefect's server would fail in its own process, and its client wait two minutes for it.
    """
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect").expanduser()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise SettingsError(
            f"Prefect's folder {home} cannot be written: {error.strerror}; set PREFECT_HOME to a folder that can"
        ) from None


def print_status(state: StateDirectory, run: str) -> None:
    """Print a run's status from its files; makes no request to Prefect or to a service."""
    from artifacts.run.directory import RunDirectory
    from artifacts.status import status_lines
    from tasks.services import read_spend

    directory = RunDirectory.read(state, run)
    print("\n".join(status_lines(directory, read_spend(directory))))


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings of the run if it exists and no profile is named, else the profile's, with overrides."""
    values = stored_settings(options)
    if values is None:
        values = read_profile(profile_path(options.profile or "offline"))
    typed = {name: text for name, text in vars(options).items() if "." in name or name in top_level()}
    overrides = {name: parse_value(name, text) for name, text in typed.items() if isinstance(text, str)}
    return read_settings(override(values, overrides))


def demo_settings(options: argparse.Namespace) -> Settings:
    """Return the settings of the demo: the offline profile, with the number of rounds of `--rounds`, if given."""
    values = read_profile(profile_path("offline"))
    rounds = {} if options.rounds is None else {"rounds": parse_value("rounds", options.rounds)}
    return read_settings(values | rounds)


def stored_settings(options: argparse.Namespace) -> dict[str, Any] | None:
    """Return the settings of an existing run; None if the command line names a profile or the run is to be created."""
    if options.command == "prepare" or options.profile is not None:
        return None
    from artifacts.run.directory import RunDirectory

    state = StateDirectory(options.state)
    if options.command == "train" and not RunDirectory.exists(state, options.run):
        return None
    return RunDirectory.read(state, options.run).settings.model_dump(mode="json")


def top_level() -> set[str]:
    """Return the names of the settings outside any section."""
    return {name for name, _ in fields_of() if "." not in name}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser, with an option for every setting."""
    parser = argparse.ArgumentParser(
        prog="duel",
        description="Train a vision-language model without labels against an adversary: the adversary writes prompts, "
        "an image generator draws them, the base model describes the drawings, and the generator draws the "
        "descriptions. The similarity of the two images rewards the base when high and the adversary when low.",
        epilog="Start with `duel demo`. Each command has its own --help.",
    )
    parser.add_argument("--version", action="version", version=f"duel {duel.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = add_command(commands, "demo", "run everything offline: prepare, train, evaluate, report", settings=False)
    demo.add_argument("--rounds", metavar="N", help="training rounds (default: 48); 2 are enough to test the set-up")
    add_command(commands, "prepare", "write or download the data set")
    train = add_command(commands, "train", "train both players; a run that exists is resumed")
    train.add_argument(
        "--estimate",
        action="store_true",
        help="print how many images the run will ask for, what they cost and how long it takes; starts nothing",
    )
    evaluate = add_command(commands, "evaluate", "measure pass@1 of the untrained base and of every checkpoint")
    report = add_command(commands, "report", "write plots and a report (HTML and PDF) of a run")
    status = add_command(
        commands, "status", "show a run's progress, cost, last failure, and how to resume it", settings=False
    )
    commands.add_parser("settings", help="print all settings: defaults, values, meaning (Markdown)")
    for command in (train, evaluate, report, status):
        command.add_argument("--run", required=True, help="name of the run, a folder under STATE/runs")
    for command in (evaluate, report):
        command.add_argument("--compare", metavar="RUN", help="another run to compare with, e.g. one without adversary")
    evaluate.add_argument(
        "--power",
        metavar="DIFFERENCE",
        help="say how many questions are needed to detect this difference in pass@1, e.g. 0.03",
    )
    return parser


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help_line: str, settings: bool = True
) -> argparse.ArgumentParser:
    """Add a sub-command with `--state`; with `settings`, also `--profile` and an option for every setting."""
    command = commands.add_parser(name, help=help_line, description=f"duel {name}: {help_line}.", allow_abbrev=False)
    command.add_argument(
        "--state",
        type=Path,
        default=StateDirectory.default().path,
        help="folder that holds data, images and runs (default: $DUEL_STATE or ./state)",
    )
    if not settings:
        return command
    command.add_argument(
        "--profile",
        help=f"{', '.join(profile_names())}, or a .toml file (default: the settings of the run if it exists, else "
        "offline)",
    )
    group = command.add_argument_group("settings", "Each overrides the profile. 'none' empties an optional setting.")
    for setting, field in fields_of():
        default = field.get_default()
        text = f"{field.description or ''} (default: {default if default is not None else 'none'})".strip()
        group.add_argument(f"--{setting}", dest=setting, metavar="VALUE", help=text.replace("%", "%%"))
    return command


def explain_unknown(option: str) -> str:
    """Return the error message for an unknown option, with the most similar existing one."""
    names = [f"--{name}" for name, _ in fields_of()] + [
        "--profile",
        "--run",
        "--state",
        "--compare",
        "--power",
        "--estimate",
    ]
    near = difflib.get_close_matches(option.split("=")[0], names, n=1, cutoff=0.5)
    return f"{option} is not an option" + (f"; did you mean {near[0]}?" if near else "; see duel COMMAND --help")


if __name__ == "__main__":
    sys.exit(main())
