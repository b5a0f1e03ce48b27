"""The lines of `duel status`: rounds, process, checkpoints, evaluations, cost, last failure, how to resume."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from artifacts.evaluation.canary import canary_line, canary_warning
from artifacts.evaluation.read import read_proxies, read_tests
from artifacts.evaluation.strata import COMMON, HARD, similarities_by_group
from artifacts.run.checkpoints import list_checkpoints
from artifacts.run.directory import RunDirectory
from artifacts.run.jsonl import read_rows
from artifacts.run.lock import owner_of
from artifacts.run.sessions import Session, read_sessions
from duel.types import Spend


def status_lines(run: RunDirectory, spend: Spend | None) -> list[str]:
    """Return the lines that `duel status` prints; `spend` is the cost of the run's images, None without purchases."""
    rows = read_rows(run.metrics)
    done = len(rows)
    complete = any(found.rounds_done >= run.settings.rounds for found in list_checkpoints(run))
    owner = owner_of(run.path / "lock")
    sessions = read_sessions(run)
    said = {
        "rounds": _rounds(run, rows),
        **_skipped(rows),
        "process": f"in training by {owner}" if owner else "not in training",
        "checkpoints": _checkpoints(run, done),
        "questions": _questions(run),
        **_strata(run),
        **_canary(run),
        "cost": _cost(run, spend),
        "last failure": _last_failure(sessions, owner),
        "next": _next_step(run, complete, owner),
    }
    width = max(map(len, said))
    return [f"{name:<{width}}  {text}" for name, text in said.items()]


def _rounds(run: RunDirectory, rows: list[dict[str, Any]]) -> str:
    done, rounds = len(rows), run.settings.rounds
    by_player = [f"{sum(row['player'] == name for row in rows)} {name}" for name in run.settings.schedule.players]
    text = f"{done} of {rounds} recorded ({', '.join(by_player)})"
    return text if done >= rounds else f"{text}; next is round {done}, of the {run.settings.schedule.player(done)}"


def _skipped(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return how many updates were skipped because something was not finite; nothing where none was."""
    most = {row["player"]: row.get("skipped_updates", 0) for row in rows}  # of the last row: each counts those before
    counts = ", ".join(f"{count} of the {player}" for player, count in most.items() if count)
    return {"skipped updates": f"{counts}: loss, gradient or an embedding was not finite"} if counts else {}


def _checkpoints(run: RunDirectory, done: int) -> str:
    found = list_checkpoints(run)
    resumable = [checkpoint for checkpoint in found if checkpoint.resumable]
    if not resumable:
        return "none yet: resuming starts from round 0, with the cached results of finished stages"
    last = resumable[-1]
    behind = done - last.rounds_done
    replay = f"; resuming replays the updates of {behind} recorded {'rounds' if behind > 1 else 'round'}"
    return f"{len(found)}, the last is {last.name}{replay if behind > 0 else ''}"


def _questions(run: RunDirectory) -> str:
    tests = read_tests(run)
    waiting = [one.name for one in list_checkpoints(run) if one.name not in {test.checkpoint_name for test in tests}]
    known = [test.overall_pass_at_1 for test in tests if test.overall_pass_at_1 is not None]
    text = f"{len(tests)} checkpoints evaluated"
    if known:
        text += f", pass@1 {known[0]:.3f} at the first, {known[-1]:.3f} at the last"
    if not waiting:
        return text
    return f"{text}; {len(waiting)} not yet: {waiting[0]}{f' to {waiting[-1]}' if len(waiting) > 1 else ''}"


def _strata(run: RunDirectory) -> dict[str, str]:
    """Return the similarity on common and on hard charts, at first and last; nothing where the data set has none."""
    proxies = read_proxies(run)
    groups = [similarities_by_group(proxy) for proxy in (proxies[0], proxies[-1])] if proxies else []
    said = []
    for name in (COMMON, HARD):
        means = [fmean(group[name].values()) for group in groups if group.get(name)]
        if means:
            said.append(f"{means[0]:.3f} on {name} charts at first, {means[-1]:.3f} at last")
    return {"similarity": "; ".join(said)} if said else {}


def _canary(run: RunDirectory) -> dict[str, str]:
    """Return how the canary fares, and a warning where it fell; nothing where no questions were put."""
    proxies = read_proxies(run)
    said = {"canary": canary_line(proxies), "warning": canary_warning(proxies)}
    return {name: text for name, text in said.items() if text is not None}


def _cost(run: RunDirectory, spend: Spend | None) -> str:
    if spend is None:
        local = run.settings.generator.service != "replicate"
        return "none: images are drawn on this machine" if local else "no images bought yet"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in spend.outcomes.items())
    said = f"{spend.dollars:.2f} dollars for {spend.images} images{f' ({counts})' if counts else ''}"
    if spend.grades:
        said += f", {spend.grade_dollars:.2f} dollars for {spend.grades} requests to the judge"
    if spend.rehearsed_dollars:
        said += f"; {spend.rehearsed_dollars:.2f} of it at services of this machine, which cost nothing"
    return said


def _last_failure(sessions: list[Session], owner: str | None) -> str:
    ended = [session for session in sessions if session.outcome in ("failed", "died")]
    unended = [session for session in sessions if session.outcome is None and session.command == "train"]
    if unended and owner is None:
        session = unended[-1]
        return f"process {session.process} on {session.host}, started {session.started}, was killed"
    if not ended:
        return "none"
    last = ended[-1]
    return f"{last.ended}, {last.command}, after {last.rounds} rounds: {last.message}"


def _next_step(run: RunDirectory, complete: bool, owner: str | None) -> str:
    state = run.state.path.absolute()
    name = run.name if state == Path("state").absolute() else f"{run.name} --state {state}"
    if owner:
        return "nothing to do while it is in training"
    if complete:
        return f"training is complete: duel evaluate --run {name}, duel report --run {name}"
    return f"resume with duel train --run {name}, or Retry in the Prefect UI"
