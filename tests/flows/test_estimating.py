from pathlib import Path

from artifacts.run.directory import RunDirectory
from cache.ledger import SpendLedger
from duel.settings.profile import override, read_profile, read_settings
from duel.state import StateDirectory
from flows.cli import main
from flows.estimating import estimate_lines
from flows.profiles import profile_path
from tests.support.fake_run import fake_run


def settings(profile="day3", **changed):
    return read_settings(override(read_profile(profile_path(profile)), changed))


def test_without_a_past_the_settings_tell_the_most_and_the_price(tmp_path: Path) -> None:
    lines = estimate_lines(settings(rounds=10), "new", StateDirectory(tmp_path))
    text = "\n".join(lines)
    assert "images: at most 125 in these rounds" in text  # 5 * 9 + 5 * 16
    assert "0.003 each, by generator.dollars_per_image" in text
    assert "time:   not known" in text
    assert "grading by the judge is not counted" in text
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_began_tells_its_share_and_its_seconds(tmp_path: Path) -> None:
    """Its 4 rounds asked for all of the 9 or 16 images that they could, and its stages took 2.4 s a round."""
    run = fake_run(tmp_path, "mine", rounds=4, every=2, recorded=0)
    played = run.settings.model_copy(update={"rounds": 8})
    text = "\n".join(estimate_lines(played, "mine", StateDirectory(tmp_path)))
    assert "rounds: 4 to play, 4 are played" in text
    assert "about 50 in these rounds: 4 rounds of mine asked for 100% of the most they could" in text
    assert "2.4 s a round in mine" in text


def test_what_a_rehearsal_cost_is_no_price(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path)
    with SpendLedger(state.spend, "old", 0.5) as ledger:
        bought = ledger.created(ledger.intend("key"), "prediction")
        ledger.settle(bought, "drawn", 1)
    assert "(0.003 each" in "\n".join(estimate_lines(settings(rounds=10), "new", state))


def test_the_command_prints_and_starts_nothing(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.delenv("REPLICATE_API_TOKEN", raising=False)
    assert main(["train", "--estimate", "--profile", "day3", "--run", "new", "--state", str(tmp_path)]) == 0
    assert "images: at most 12,500 in these rounds" in capsys.readouterr().out
    assert not RunDirectory.exists(StateDirectory(tmp_path), "new")
    assert list(tmp_path.iterdir()) == []
