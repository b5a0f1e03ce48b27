"""Formatting of numbers for people."""

from artifacts.text import bracketed, printable
from duel.statistics import Interval, mean_interval


def test_an_interval_is_shown_in_brackets_and_one_value_without() -> None:
    assert bracketed(Interval(0.5124, 0.498, 0.5261)) == "0.512 [0.498, 0.526]"
    assert bracketed(Interval(-0.0001, -0.02, 0.0199), "+") == "+0.000 [-0.020, +0.020]"
    assert bracketed(mean_interval([0.25])) == "0.250 (one value)"


def test_a_private_code_point_which_no_font_shows_is_a_box():
    assert printable("a \ue000 b \U000f0000") == "a □ b □"
