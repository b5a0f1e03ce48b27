"""The spend in a report: the ledger's sum for the run, and none without purchases."""

from pathlib import Path

import pytest

from artifacts.run.directory import RunDirectory
from cache.ledger import SpendLedger
from duel.settings import Settings
from duel.state import StateDirectory
from duel.types import Spend
from tasks.services import read_spend


def test_a_report_has_the_spend_of_its_own_run(tmp_path: Path) -> None:
    with (
        RunDirectory.open(StateDirectory(tmp_path), "ours", Settings()) as ours,
        RunDirectory.open(StateDirectory(tmp_path), "theirs", Settings()) as theirs,
    ):
        assert read_spend(ours) is None
        assert not (tmp_path / "spend.sqlite").exists()  # looking makes no ledger
        with SpendLedger(tmp_path / "spend.sqlite", "ours", dollars_per_image=0.003) as ledger:
            ledger.settle(ledger.intend("a"), "drawn", images=1)
            ledger.settle(ledger.intend("b"), "drawn", images=1)
            ledger.settle(ledger.intend("c"), "refused", images=1, reason="NSFW")
        assert read_spend(ours) == Spend(drawn=2, refused=1, images=3, dollars=pytest.approx(0.009))
        assert read_spend(theirs) is None
