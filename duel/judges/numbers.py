"""Numbers as people write them: 1,200 and 1 200, −3, 12 %, $5, 4 kg, three, 10^3, 1.5 × 10³, 2.5 million, 3,14."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

LONGEST = 80  # characters of a text that is a number
NUMBER_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    )
}
SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}  # powers of ten
CURRENCIES = "$€£¥"
CURRENCY, SIGN = re.compile(f"[{re.escape(CURRENCIES)}]"), re.compile("[+-]")
SCALE = re.compile(rf"\s*({'|'.join(SCALES)})s?\b|(k)\b")  # 600k; no other letter: 6B may be a name
SPACES = (" ", "\u00a0", "\u202f", "\u2009")
ORDINALS = ("st", "nd", "rd", "th")  # 10th is a place, no quantity
SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u2012": "-", "\u2010": "-", "\u2011": "-", "\ufe63": "-"})
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
GROUPED = re.compile(r"\d{1,3}(?:(?P<mark>[,'\u2019\u00a0\u2009\u202f])\d{3})(?:(?P=mark)\d{3})*(?:\.\d+)?")
DECIMAL_COMMA = re.compile(r"\d+,\d+")
PLAIN = re.compile(r"\d+\.?\d*|\.\d+")
TEN = r"10(?:\s*(?:\^|\*\*)\s*\(?(?P<exponent>[+-]?\d{1,4})\)?|(?P<raised>[⁺⁻]?[⁰¹²³⁴-⁹]{1,4})(?![⁰¹²³⁴-⁹]))"
POWER_ALONE, POWER = re.compile(TEN), re.compile(rf"\s*[x×·*]\s*{TEN}")
EXPONENT = re.compile(r"e(?P<exponent>[+-]?\d{1,4})(?![^\W_])")
UNIT = re.compile(r"(?:[^\W\d_]|[°/.])+(?: (?:[^\W\d_]|[°/.])+)?")  # the two kinds share no character: linear time


@dataclass(frozen=True)
class Quantity:
    """A number, and what it counts or measures as far as the text says."""

    value: Decimal
    unit: str = ""  # lower case; "%" for percent, a currency's sign; empty: not said
    joined: bool = False  # letters follow the number without a space, as in 2π, 3D and 08Jan

    def equals(self, other: Quantity) -> bool:
        """Return whether the numbers are equal, and the units too; one side may leave out a unit that is not joined."""
        left_out = not (self.unit and other.unit) and not (self.joined or other.joined)
        return self.value == other.value and (left_out or self.unit == other.unit)


def read_quantity(text: str) -> Quantity | None:
    """Return the number that a text is, with its unit; None when it is anything else, such as a range or a list.

    `10-19`, `10/25`, `10th` and `3 of 4` are None. A comma before three digits separates thousands, any other comma
    decimals; `0,125` has decimals, too.
    """
    if len(text) > LONGEST:
        return None
    bare = _plain(text)
    sign, bare = _take(SIGN, bare)
    currency, bare = _take(CURRENCY, bare)
    bare = bare.lstrip() if currency else bare
    if not sign:
        sign, bare = _take(SIGN, bare)
    word = re.match(r"[a-z]+", bare)
    if word is not None and word.group() in NUMBER_WORDS:
        bare = NUMBER_WORDS[word.group()] + bare[word.end() :]
    found = _magnitude(bare)
    if found is None:
        return None
    value, rest = found
    unit = _unit(rest)
    if unit is None or (unit and currency):
        return None
    joined = unit not in ("", "%", *CURRENCIES) and not rest.startswith(SPACES)
    return Quantity(value.copy_negate() if sign == "-" else value, currency or unit, joined)


def _plain(text: str) -> str:
    """Return a text in lower case, without LaTeX around it and a full stop after it, minus signs as ASCII."""
    bare = text.strip().casefold().translate(SIGNS)
    if len(bare) > 1 and bare[0] == bare[-1] == "$":
        bare = bare[1:-1].strip()
    bare = bare.replace("\\times", "×").replace("\\cdot", "·").replace("\\%", "%").replace("{", "").replace("}", "")
    return bare.removesuffix(".").strip()


def _take(pattern: re.Pattern[str], text: str) -> tuple[str, str]:
    found = pattern.match(text)
    return ("", text) if found is None else (found.group(), text[found.end() :])


def _magnitude(text: str) -> tuple[Decimal, str] | None:
    """Return the number that a text begins with, and the rest; None if it begins with none."""
    alone = POWER_ALONE.match(text)
    if alone is not None:
        return Decimal(1).scaleb(_exponent(alone)), text[alone.end() :]
    for pattern, decimal_comma in ((GROUPED, False), (DECIMAL_COMMA, True), (PLAIN, False)):
        found = pattern.match(text)
        if found is None or (pattern is GROUPED and _has_decimals(found.group())):
            continue
        digits = found.group().replace(",", ".") if decimal_comma else re.sub(r"[^\d.]", "", found.group())
        value, rest = Decimal(digits), text[found.end() :]
        if rest[:1].isdigit() or rest[:2].strip(",'").isdigit():  # such as 1,2,3
            return None
        return _raised(value, rest)
    return None


def _raised(value: Decimal, rest: str) -> tuple[Decimal, str]:
    """Return a number times the power of ten that follows it, if one does, and what follows that."""
    for power in (EXPONENT, POWER):
        found = power.match(rest)
        if found is not None:
            return value.scaleb(_exponent(found)), rest[found.end() :]
    scale = SCALE.match(rest)
    return (value, rest) if scale is None else (value.scaleb(SCALES[scale.group(1) or "thousand"]), rest[scale.end() :])


def _has_decimals(grouped: str) -> bool:
    """Return whether the only comma of `0,125` is a decimal one: thousands do not begin with 0."""
    return grouped.startswith("0") and len(grouped) > 1


def _exponent(match: re.Match[str]) -> int:
    groups = match.groupdict()
    return int(groups["exponent"] or groups.get("raised", "").translate(SUPERSCRIPTS))


def _unit(rest: str) -> str | None:
    """Return the unit that follows a number, empty if nothing does; None where the text goes on as no unit does."""
    joined, rest = not rest.startswith(SPACES), rest.strip()
    if not rest:
        return ""
    if rest in ("%", "percent", "per cent"):
        return "%"
    if rest in CURRENCIES:
        return rest
    if (joined and rest.startswith(ORDINALS)) or UNIT.fullmatch(rest) is None:
        return None
    return rest
