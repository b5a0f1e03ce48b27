"""Numbers as people write them, with the annotation files' own answers where these lie beside the clone."""

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from duel.judges.exact import equal
from duel.judges.numbers import Quantity, read_quantity

ANNOTATIONS = os.environ.get("DUEL_ANNOTATIONS")


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("7", "7", ""),
        (" 3. ", "3", ""),
        (".5", "0.5", ""),
        ("three", "3", ""),
        ("1,200", "1200", ""),
        ("1,200,000.5", "1200000.5", ""),
        ("1\u2009200", "1200", ""),  # thin space
        ("1\u202f200", "1200", ""),  # narrow no-break space
        ("1'000", "1000", ""),
        ("3,14", "3.14", ""),
        ("0,125", "0.125", ""),
        ("\u22123", "-3", ""),  # minus sign
        ("\u20133", "-3", ""),  # en dash
        ("1e3", "1000", ""),
        ("10^3", "1000", ""),
        ("10^{-2}", "0.01", ""),
        ("$10^{-2}$", "0.01", ""),
        ("10\u00b3", "1000", ""),  # superscript three
        ("10\u207b\u00b2", "0.01", ""),  # superscript minus two
        ("1.5 \u00d7 10^3", "1500", ""),
        ("1.5x10^3", "1500", ""),
        ("1.5 \\times 10^{3}", "1500", ""),
        ("2.5 million", "2500000", ""),
        ("600k", "600000", ""),
        ("12 %", "12", "%"),
        ("50 percent", "50", "%"),
        ("$5", "5", "$"),
        ("-\u20ac 5", "-5", "\u20ac"),
        ("5 \u20ac", "5", "\u20ac"),
        ("4 kg", "4", "kg"),
        ("20 m/s", "20", "m/s"),
        ("three bars", "3", "bars"),
    ],
)
def test_a_number_is_read_as_people_write_it(text, value, unit):
    assert read_quantity(text) == Quantity(Decimal(value), unit)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "seventy",
        "x1",
        "7 8",
        "10-19",
        "10/25",
        "3 of 4",
        "1,2,3",
        "5.5.5",
        "11:20",
        "10th",
        "2021-07",
        "2000\u20132010",
        "(1, 50)",
        "[35, 40]",
        "1e99999",
        "1" * 81,
        "\u2202",
        "10\u207b",  # ten to the power of a minus sign
        "10" + "\u2079" * 9,
        "2 x 10\u207b\u207b3",
        "5" + "\u00b5" * 70 + "!",  # each letter could be matched in two ways
        "5m" + "\u00b2" * 70 + "!",
    ],
)
def test_ranges_lists_dates_and_places_are_text(text):
    assert read_quantity(text) is None


@pytest.mark.parametrize(
    ("truth", "answer", "same"),
    [
        ("2010", "2003", False),
        ("100", "101", False),
        ("0.33", "0.333", False),
        ("0.5", ".50", True),
        ("1e999", "1e998", False),
        ("4 kg", "4", True),
        ("4 kg", "4kg", True),
        ("4 kg", "4 g", False),
        ("12", "12 %", True),
        ("12 %", "0.12", False),
        ("2\u03c0", "2", False),  # two pi
        ("3D", "3", False),
        ("08Jan", "8", False),
        ("6B", "6 B", True),
        ("10-19", "10\u201319", True),
        ("10-19", "10", False),
    ],
)
def test_numbers_are_equal_without_tolerance_and_units_where_both_are_said(truth, answer, same):
    assert equal(truth, answer) is same


@pytest.mark.skipif(ANNOTATIONS is None, reason="CharXiv's annotation files are not here")
def test_every_answer_of_the_annotation_files_equals_itself():
    reasoning, descriptive = (
        json.loads((Path(ANNOTATIONS or "") / f"{name}_val.json").read_text()) for name in ("reasoning", "descriptive")
    )
    answers = {row["answer"] for row in reasoning.values()}
    answers |= {answer for row in descriptive.values() for answer in row["answers"]}
    assert all(equal(answer, answer) for answer in answers)
    numbers = [(answer, found) for answer in sorted(answers) if (found := read_quantity(answer)) is not None]
    assert len(numbers) > 300
