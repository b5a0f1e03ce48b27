import subprocess
from pathlib import Path

import pytest

from artifacts.evaluation.console import comparison_lines, evaluation_lines
from artifacts.evaluation.read import Evaluations, read_evaluations
from artifacts.evaluation.strata import compare_strata_of_runs, compare_strata_with_start
from artifacts.evaluation.verdict import verdict, verdict_lines
from artifacts.report.html import write_report
from tests.support.fake_run import add_strata, fake_run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Evaluations, Evaluations]:
    """A run with an adversary and one without, whose hard charts are 0.2 less similar."""
    duel, alone = fake_run(tmp_path, rounds=4, every=2), fake_run(tmp_path, "alone", 4, 2, adversary=False)
    add_strata(duel, 0.7)
    add_strata(alone, 0.5)
    return read_evaluations(duel), read_evaluations(alone)


def test_a_run_is_compared_with_its_start(runs: tuple[Evaluations, Evaluations]) -> None:
    found = {one.name: one for one in compare_strata_with_start(runs[0])}
    assert list(found) == ["common", "hard", "kind", "title"]
    hard = found["hard"].similarity
    assert hard is not None
    assert (hard.n, hard.before_mean, hard.after_mean) == (4, pytest.approx(0.525), pytest.approx(0.725))
    answered = found["kind"].answers
    assert answered is not None
    assert (answered.n, answered.before_mean, answered.after_mean) == (2, 0.0, 0.7)


def test_two_runs_are_compared_by_stratum(runs: tuple[Evaluations, Evaluations]) -> None:
    found = {one.name: one for one in compare_strata_of_runs(*runs)}
    hard, common = found["hard"].similarity, found["common"].similarity
    assert hard is not None
    assert common is not None
    assert hard.difference.mean == pytest.approx(0.2)
    assert (common.difference.mean, common.difference.low, common.difference.high) == (0, 0, 0)


def test_a_data_set_without_strata_has_no_lines(tmp_path: Path) -> None:
    evaluations = read_evaluations(fake_run(tmp_path, rounds=4, every=2))
    assert compare_strata_with_start(evaluations) == []
    assert not [line for line in evaluation_lines(evaluations) if line.startswith("charts")]


def test_the_console_shows_strata_of_one_run_and_of_two(runs: tuple[Evaluations, Evaluations]) -> None:
    own, both = evaluation_lines(runs[0]), comparison_lines(*runs)
    assert "charts         similarity: start -> now" in "\n".join(own)
    assert "charts         similarity: alone -> duel" in "\n".join(both)
    assert "hard           0.525 -> 0.725  +0.200 [+0.200, +0.200]  (4)" in "\n".join(both)


def test_the_verdict_says_whether_the_adversary_helped(runs: tuple[Evaluations, Evaluations]) -> None:
    text = " ".join(verdict(compare_strata_of_runs(*runs), (1400, 1500)))
    assert "trained with the adversary (1,400 images asked for), they are redrawn with similarity 0.725" in text
    assert "+0.200 [+0.200, +0.200] over 4 charts: the adversary helped." in text
    reverse = " ".join(verdict(compare_strata_of_runs(*runs[::-1]), (1400, 1500)))
    assert "-0.200 [-0.200, -0.200] over 4 charts: the adversary did harm." in reverse
    assert "at this size the two cannot be told apart." in " ".join(
        verdict(compare_strata_of_runs(runs[0], runs[0]), (1, 1))
    )
    assert max(map(len, verdict_lines(compare_strata_of_runs(*runs), (1400, 1500)))) <= 110


def test_without_hard_strata_the_verdict_is_not_known() -> None:
    assert "not known" in verdict([], (1, 1))[0]


def test_the_report_shows_strata_verdict_and_curves(runs: tuple[Evaluations, Evaluations]) -> None:
    path = write_report(runs[0].run, runs[1].run, None)
    page = path.read_text()
    assert "Did the adversary help?" in page
    assert "Common and hard charts, alone and duel" in page
    assert "similarity on hard charts, difference from alone" in page
    assert (runs[0].run.plots / "strata_similarity.png").exists()
    pages = subprocess.run(["pdftotext", "-layout", path.with_suffix(".pdf"), "-"], capture_output=True, text=True)
    assert "the adversary helped" in " ".join(pages.stdout.split())


def test_runs_with_unequal_draws_are_said_to_be_unequal(runs):
    found = compare_strata_of_runs(*runs)
    assert "more images" not in " ".join(verdict(found, (1400, 1500)))
    assert "The one with more images has 50% more, which alone may help it." in " ".join(verdict(found, (1400, 2100)))
    assert "more images" not in " ".join(verdict(found, (0, 0)))
