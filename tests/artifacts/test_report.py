"""The HTML report: self-contained, escaped, with correct headline numbers, for any run at any stage."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from artifacts.evaluation.read import read_evaluations
from artifacts.evaluation.summary import Measured, summarise, summary_lines
from artifacts.evaluation.table import evaluation_table
from artifacts.evaluation.write import checkpoint_test, write_proxy, write_test
from artifacts.pdf.round import write_round_pdf
from artifacts.report.content import setting_rows
from artifacts.report.gallery import read_gallery
from artifacts.report.html import write_report
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import append_metrics, append_timings, read_training_log
from artifacts.run.rounds import read_round, write_round
from duel.evaluations import ProxyEvaluation
from duel.settings import Settings
from duel.settings.profile import read_settings
from duel.state import StateDirectory
from duel.types import Grade, Question, Spend
from tests.support.fake_run import (
    Images,
    completion,
    fake_adversary_evaluation,
    fake_base_evaluation,
    fake_record,
    fake_run,
)
from tests.support.hostile import HOSTILE, write_hostile_run


class Page(HTMLParser):
    """Collects the addresses and the text of an HTML page; `text` excludes scripts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.data = ""
        self.within = ""
        self.headings: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.within = tag
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "script":
            self.data += data
        elif self.within != "style":
            self.text += data
        if self.within in ("h2", "h3") and data.strip():
            self.headings.append(data)


SECTIONS = (
    "Curves", "Evaluations", "Comparison with alone", "Hardest prompts", "Best and worst cases",
    "Gallery of rounds", "Settings and cost", "Settings", "Versions", "Cost",
    "Mean seconds per round, by stage",
)  # fmt: skip


def gallery_of(page: Page) -> dict[str, Any]:
    """Return the gallery's JSON data."""
    return json.loads(page.data[: page.data.index('"use strict"')])


@pytest.mark.parametrize(("rounds", "every"), [(3, 1), (1000, 100)])
def test_a_duels_report_is_self_contained(tmp_path: Path, rounds: int, every: int) -> None:
    run = fake_run(tmp_path, "duel", rounds, every, recorded=2)
    alone = fake_run(tmp_path, "alone", rounds, every, adversary=False, recorded=1)
    html = write_report(run, alone)
    assert html == run.path / "report.html"
    page = Page(html)
    small = {address for address in page.addresses if not address.startswith(("data:", "#"))}
    assert small
    assert all(re.fullmatch(r"report_files/[0-9a-f]{20}\.webp", address) for address in small)
    assert all((run.path / address).exists() for address in small)
    assert not {"iframe", "object"} & set(page.tags)
    assert page.tags.count("link") == 1  # the empty icon, so that none is asked for
    assert "url(" not in re.sub(r"url\(#\w+\)", "", html.read_text(encoding="utf-8"))
    assert [heading for heading in page.headings if heading in SECTIONS] == list(SECTIONS)
    assert page.text.index("pass@1 of ckpt") < page.text.index("images requested → drawn")
    assert sum(address.startswith("data:image/png") for address in page.addresses) == 12
    assert html.stat().st_size < 5e6
    assert (run.path / "report.pdf").read_bytes().startswith(b"%PDF-")


def test_with_embed_the_page_needs_no_other_file(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "duel", 4, 2, recorded=1, report={"embed": True})
    page = Page(write_report(run))
    assert all(address.startswith(("data:", "#")) for address in page.addresses if address)
    data = gallery_of(page)
    assert not data["originals"]
    assert all(address.startswith("data:image/webp;base64,") for address in data["pictures"])


def test_a_run_without_adversary_has_a_report_too(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "alone", 4, 2, adversary=False, recorded=1, report={"theme": "plain"})
    page = Page(write_report(run))
    assert "No adversary" in page.text
    assert "Adversary's reward" in page.text
    assert "not measured" in page.text
    assert sum(address.startswith("data:image/png") for address in page.addresses) == 8
    assert "svg" not in page.tags
    assert "Hardest prompts" not in page.text


def test_a_run_without_rounds_has_a_report(tmp_path: Path) -> None:
    with RunDirectory.open(StateDirectory(tmp_path), "new", Settings()) as run:
        page = Page(write_report(run))
    assert "Nothing was recorded yet." in page.text
    assert "Nothing was evaluated yet." in page.text
    assert (run.path / "report.pdf").exists()


def test_text_of_models_is_escaped(tmp_path: Path) -> None:
    html = write_report(write_hostile_run(tmp_path))
    page = Page(html)
    assert page.tags.count("script") == 2
    assert not {"b>bold", "para"} & set(page.tags)
    assert HOSTILE[1] in page.text
    assert HOSTILE[4] in page.text  # right-to-left, in reading order
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", html.read_text(encoding="utf-8"))
    assert "x" * 500 not in page.text
    assert "<" not in page.data[: page.data.index('"use strict"')]
    texts = gallery_of(page)["texts"]
    assert HOSTILE[1] in texts
    assert HOSTILE[6] in texts  # emoji whole, joined as they were
    assert "x" * 3999 + "…" in texts
    assert "reversed by an override" in texts


def test_the_gallery_holds_every_attempt_of_every_recorded_round(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "duel", 6, 3, recorded=4)
    data = gallery_of(Page(write_report(run)))
    assert [group[:3] for group in data["groups"]] == [[n, "adversary" if n % 2 else "base", 0] for n in range(6)]
    record = read_round(run, 3).attempts
    for row in data["groups"][3][3]:
        shown = dict(zip(data["fields"], row, strict=True))
        attempt = record[shown["place"]]
        assert data["texts"][shown["prompt"]] == attempt.prompt
        assert data["texts"][shown["description"]] == attempt.description.strip()
        assert shown["similarity"] == pytest.approx(attempt.similarity, abs=1e-4)
        assert data["texts"][shown["reconstructionFile"]] == attempt.reconstruction.file
        assert (run.path / data["pictures"][shown["drawing"]]).exists()


def test_the_report_states_the_cost(tmp_path: Path) -> None:
    def said(name: str, service: str, spend: Spend | None) -> str:
        with RunDirectory.open(
            StateDirectory(tmp_path), name, read_settings({"generator": {"service": service}})
        ) as run:
            return Page(write_report(run, spend=spend)).text

    paid = said("paid", "replicate", Spend(drawn=400, refused=10, images=410, dollars=1.23))
    assert "$1.23 for 410 images (400 drawn, 10 refused), from the spend ledger." in paid
    assert "Images: no cost, the spend ledger has no purchase" in said("found", "replicate", None)
    assert "Images: no cost, all were drawn on this machine" in said("free", "offline", None)


def test_a_report_is_written_when_the_other_run_is_not_evaluated(tmp_path: Path) -> None:
    run = fake_run(tmp_path, "duel", 3, 1, recorded=1)
    with RunDirectory.open(StateDirectory(tmp_path), "begun", Settings()) as begun:
        page = Page(write_report(run, begun))
    assert "Not compared: pass@1: run begun has no evaluation yet; run `duel evaluate --run begun` first" in page.text
    assert "Not compared: held-out similarity: one of the two runs has no such evaluation yet" in page.text


def write_answers(run: RunDirectory, done: int, scores: list[float | None]) -> None:
    """Write a checkpoint's test with one question and answer per score."""
    questions = [Question(str(number), "chart.png", "How many bars?", "4", 0) for number in range(len(scores))]
    answers, grades = [[completion("4")]] * len(scores), [[Grade(score, "4")] for score in scores]
    write_test(run, checkpoint_test(done, questions, answers, grades))


def test_the_five_numbers_by_hand(tmp_path: Path) -> None:
    with RunDirectory.open(StateDirectory(tmp_path), "run_1", Settings()) as run:
        for index in range(3):
            append_metrics(run, fake_record(index, None))
            append_timings(run, index, {"learn": 0.5}, draws_made=5 - index)
        for done, similarities, rewards in ((0, [0.5, 0.7], [0.1, 0.3]), (2, [0.8, None], [0.4, 0.6])):
            base = fake_base_evaluation(dict(zip("ab", similarities, strict=True)), draws_asked=4, draws_made=done)
            write_proxy(run, ProxyEvaluation(done, base, fake_adversary_evaluation(rewards, draws_asked=6)))
        for done, scores in ((0, [0.0, 0.5]), (2, [None, None]), (3, [0.5, 0.5])):
            write_answers(run, done, scores)

        evaluations = read_evaluations(run)
        numbers = summarise(evaluations, read_training_log(run))
        # Rounds 0 and 2 ask for a drawing and 8 reconstructions, round 1 for 8 of each; an evaluation for 4 and 6.
        assert (numbers.rounds, numbers.base_rounds, numbers.adversary_rounds) == (3, 2, 1)
        assert (numbers.draws_asked, numbers.draws_made) == (9 + 16 + 9 + 2 * (4 + 6), 5 + 4 + 3 + 2)
        assert numbers.similarity == Measured(pytest.approx(0.6), pytest.approx(0.8))
        assert numbers.adversary_reward == Measured(pytest.approx(0.2), pytest.approx(0.5))
        assert numbers.pass_at_1 == Measured(0.25, 0.5)

        lines = summary_lines(numbers)
        assert len(lines) == 5
        assert lines[0].split()[:2] == ["Rounds", "3"]
        assert "0.600 → 0.800" in lines[1]
        assert "0.200 → 0.500" in lines[2]
        assert "54 → 14" in lines[3]
        assert "0.250 → 0.500" in lines[4]

        rows = evaluation_table(evaluations)
        assert [row.rounds_done for row in rows] == [0, 2, 3]
        assert rows[2].similarity is None


def test_best_and_worst_cases_are_from_all_rounds_at_most_one_per_drawing(tmp_path: Path) -> None:
    with RunDirectory.open(StateDirectory(tmp_path), "run_1", Settings()) as run:
        images = Images()
        for index in range(12):
            write_round(run, fake_record(index, images, size=3), images.read, write_round_pdf)
        gallery = read_gallery(run)
    assert [shown.round for shown in gallery.ends] == [0, 1, 6, 7, 8, 9, 10, 11]
    for cases, sign in ((gallery.best, -1), (gallery.worst, 1)):
        similarities = [case.attempt.similarity for case in cases]
        assert similarities == sorted(similarities, key=lambda similarity: sign * similarity)
        assert len({case.attempt.drawing.key for case in cases}) == len(cases) == 8
    assert any(case.round not in (0, 1, 6, 7, 8, 9, 10, 11) for case in gallery.best + gallery.worst)


def test_settings_that_differ_from_the_default_are_marked() -> None:
    changed = {row.name: row.value for row in setting_rows(Settings(seed=3)) if row.changed}
    assert changed == {"seed": "3"}


def test_two_reports_at_once_do_not_remove_each_others_files(tmp_path):
    run = fake_run(tmp_path, rounds=4)
    with ThreadPoolExecutor(2) as pool:
        pages = list(pool.map(lambda _: write_report(run).read_text(encoding="utf-8"), range(2)))
    assert pages[0] == pages[1]
    shown = set(re.findall(r"report_files/[0-9a-f]+\.webp", pages[0]))
    assert shown
    assert all((run.path / name).is_file() for name in shown)
