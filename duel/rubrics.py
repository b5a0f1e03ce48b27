"""CharXiv's response instructions and grading rubrics, read from the benchmark's own `src/constants.py`.

The file is never executed: the literals assigned to known names are taken from its syntax tree. No text of it is part
of Duel. How the texts are combined is the benchmark's procedure (Wang et al. 2024, arXiv 2406.18521).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from duel.errors import DataError
from duel.types import Question

MAX_BYTES = 2**20
CATEGORIES = range(1, 5)
QUESTION_IDS = range(1, 20)
TOPICS = {
    "title": [1],
    "ocr": [2, 3, 4, 5, 6, 7],
    "quant": [8, 9, 10, 12, 14, 15, 17, 19],
    "bool": [11],
    "enum": [13],
    "trend": [16],
    "layout": [18],
}
TOPIC_OF = {question_id: topic for topic, question_ids in TOPICS.items() for question_id in question_ids}
NUMBER_IN_GENERAL = 4
KEYS: dict[str, Sequence[int] | Sequence[str] | None] = {  # each constant's mapping keys; None: a single string
    "REASONING_RESP_INST": CATEGORIES,
    "REASONING_GRADING_INST": CATEGORIES,
    "REASONING_GRADING_PREFIX": None,
    "DESCRIPTIVE_RESP_INST": QUESTION_IDS,
    "DESCRIPTIVE_GRADING_QMAP": QUESTION_IDS,
    "DESCRIPTIVE_GRADING_ICL": list(TOPICS),
    "DESCRIPTIVE_GRADING_PREFIX": None,
}


@dataclass(frozen=True)
class Rubrics:
    """The benchmark's prompt texts; each field is the constant of that name."""

    reasoning_resp_inst: Mapping[int, str]
    reasoning_grading_inst: Mapping[int, str]
    reasoning_grading_prefix: str
    descriptive_resp_inst: Mapping[int, str]
    descriptive_grading_qmap: Mapping[int, str]
    descriptive_grading_icl: Mapping[str, str]
    descriptive_grading_prefix: str

    def ask_reasoning(self, category: int, question: str, answer: str) -> str:
        """Return the prompt of a reasoning question; for a free-form number it states the answer's decimal places."""
        values = [question, number_form(answer)] if category == NUMBER_IN_GENERAL else [question]
        return fill_braces(self.reasoning_resp_inst[category], values)

    def ask_descriptive(self, question_id: int, subplot: Sequence[int] | str) -> str:
        """Return the prompt of a descriptive question about one subplot, unless it is about the whole figure."""
        template = self.descriptive_resp_inst[question_id]
        return fill_braces(template, [subplot_prefix(subplot)]) if "{}" in template else template

    def grade_reasoning(self, question: Question, response: str) -> str:
        """Return the judge's prompt for one answer; its reply is JSON with `extracted_answer` and `score`."""
        values = {"question": question.question, "ground_truth": question.ground_truth, "response": response}
        return self.reasoning_grading_prefix + fill_placeholders(
            self.reasoning_grading_inst[question.answer_category], values
        )

    def grade_descriptive(self, question_id: int, answers: Sequence[tuple[str, str]]) -> str:
        """Return the judge's prompt for several (response, ground truth) pairs of one question id.

        Its reply is JSON with `extract_answer_T1`, `score_T1`, `extract_answer_T2` and so on.
        """
        keys = [key for pair in descriptive_keys(len(answers)) for key in pair]
        values = {
            "NUM_TRIPLETS": str(len(answers)),
            "OVERARCHING_QUESTION": self.descriptive_grading_qmap[question_id],
            "JSON_KEYS": str(keys),
        }
        prefix = fill_placeholders(self.descriptive_grading_prefix, values)
        triplets = "".join(
            f"T{i}:\nResponse {i}: {response}\nGround Truth {i}: {truth}\n\n"
            for i, (response, truth) in enumerate(answers, start=1)
        )
        return prefix + self.descriptive_grading_icl[TOPIC_OF[question_id]] + triplets


def descriptive_keys(count: int) -> list[tuple[str, str]]:
    """Return the (extracted answer, score) JSON keys of each of `count` answers."""
    return [(f"extract_answer_T{i}", f"score_T{i}") for i in range(1, count + 1)]


def number_form(answer: str) -> str:
    """Return the instruction on a numeric answer's form: an integer, or with how many decimal places."""
    _, point, decimals = answer.partition(".")
    if not point:
        return "* Give your final answer as an exact integer."
    return f"* Give your final answer as a number with {len(decimals)} decimal places."


def subplot_prefix(subplot: Sequence[int] | str) -> str:
    """Return the phrase naming a subplot: [0, 0] for the only one, [row, column], or a description."""
    if isinstance(subplot, str):
        return f"In {subplot}, "
    row, column = subplot
    return f"In the subplot at row {row} and column {column}, " if row else "In this plot, "


def fill_braces(template: str, values: Sequence[str]) -> str:
    """Substitute the `{}` of a template in order; braces within a value are left alone."""
    first, *rest = template.split("{}")
    return first + "".join(value + part for value, part in zip(values, rest, strict=True))


def fill_placeholders(template: str, values: Mapping[str, str]) -> str:
    """Substitute the `<|name|>` of a template by name; placeholders within a value are left alone."""
    return re.sub(r"<\|(\w+)\|>", lambda mark: values.get(mark[1], mark[0]), template)


def read_rubrics(path: Path) -> Rubrics:
    """Read `constants.py`. Raises DataError when it cannot be read, or a constant is missing or of another type."""
    try:
        source = path.read_bytes()
        if len(source) > MAX_BYTES:
            raise DataError(f"{path} has {len(source)} bytes, expected CharXiv's src/constants.py, some 20,000 bytes")
        literals = assigned_literals(ast.parse(source))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"cannot read the rubrics {path}: {error}; expected CharXiv's src/constants.py") from None
    for name, keys in KEYS.items():
        fault = type_fault(literals.get(name), keys) or placeholder_fault(name, literals[name])
        if fault:
            raise DataError(f"{path}: {name} {fault}; remove the file and run `duel prepare` again")
    return Rubrics(**{name.lower(): literals[name] for name in KEYS})


def assigned_literals(tree: ast.Module) -> dict[str, Any]:
    """Return the literals a module assigns to the names in KEYS. Raises ValueError where one is not a literal."""
    return {
        target.id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in KEYS
    }


def type_fault(value: Any, keys: Sequence[int] | Sequence[str] | None) -> str | None:
    """Return how a constant deviates from a string, or from a mapping of `keys` to strings; None: not at all."""
    if value is None:
        return "is missing"
    if keys is None:
        return None if isinstance(value, str) else f"is a {type(value).__name__}, expected a text"
    if not isinstance(value, dict) or not all(isinstance(value.get(key), str) for key in keys):
        return f"is not a mapping of {', '.join(map(str, keys))} to texts"
    return None


def placeholder_fault(name: str, value: Any) -> str | None:
    """Return what is wrong with a constant's placeholders, or None."""
    if name == "REASONING_RESP_INST":
        places = [value[category].count("{}") for category in CATEGORIES]
        return None if places == [1, 1, 1, 2] else f"has {places} places for the question, expected [1, 1, 1, 2]"
    if name == "DESCRIPTIVE_RESP_INST" and any(text.count("{}") > 1 for text in value.values()):
        return "has more than one place for the subplot"
    if name == "REASONING_GRADING_INST":
        lacking = [
            key for key in CATEGORIES if not {"<|ground_truth|>", "<|response|>"} <= set(placeholders(value[key]))
        ]
        return f"has no place for answer or response under {lacking}" if lacking else None
    return None


def placeholders(template: str) -> list[str]:
    """Return the `<|name|>` placeholders of a template, in order."""
    return re.findall(r"<\|\w+\|>", template)
