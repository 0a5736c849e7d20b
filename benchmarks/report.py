"""What comes out of a run: rows with a middle and a spread, the bars they are held to, one table."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

AIM, MUST, MISSED, FAILED = "aim reached", "must reached", "missed", "not measured"
RATIO = "×"
HEADER = ("subject", "measure", "against", "middle", "spread", "must / aim", "verdict")


@dataclass(frozen=True, slots=True)
class Spread:
    """A middle value with the lowest and the highest that were seen."""

    middle: float
    low: float
    high: float


def spread(values: Iterable[float]) -> Spread:
    """Return the median of repeated values with their range.

    Args:
        values: At least one.
    """
    seen = sorted(values)
    return Spread(statistics.median(seen), seen[0], seen[-1])


def ratios(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Return the spread of ratios taken round by round, so that a machine that changes pace changes both sides.

    Args:
        above: One value per round.
        below: The other side's value of the same round.
    """
    return spread(one / other for one, other in zip(above, below, strict=True))


@dataclass(frozen=True, slots=True)
class Bar:
    """What has to be reached, and what would be better still."""

    must: float
    aim: float
    sense: Literal["at least", "at most"]

    def verdict(self, value: float) -> str:
        """Return the word for how a value stands against the bar."""
        if self.reaches(value, self.aim):
            return AIM
        return MUST if self.reaches(value, self.must) else MISSED

    def reaches(self, value: float, limit: float) -> bool:
        """Return whether a value is on the right side of a limit."""
        return value >= limit if self.sense == "at least" else value <= limit


def at_least(must: float, aim: float) -> Bar:
    """Return the bar of a measure where more is better."""
    return Bar(must, aim, "at least")


def at_most(must: float, aim: float) -> Bar:
    """Return the bar of a measure where less is better."""
    return Bar(must, aim, "at most")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        measure: What was measured.
        against: What it was compared with, or what kind of number it is when there is nothing to compare with.
        value: What came out; None when it could not be measured.
        unit: A ratio unless it says otherwise.
        bar: What it is held to, if anything.
        note: What a reader should know.
    """

    measure: str
    against: str
    value: Spread | None
    unit: str = RATIO
    bar: Bar | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """How the row stands against its bar, by its middle value."""
        if self.value is None:
            return MISSED if self.bar else FAILED
        return self.bar.verdict(self.value.middle) if self.bar else ""


def markdown(results: Sequence[tuple[str, Row]]) -> str:
    """Return the table and, below it, the notes.

    Args:
        results: The subject's name with each row.
    """
    lines = [_line(HEADER), _line(["---"] * len(HEADER)), *(_line(_cells(name, row)) for name, row in results)]
    notes = dict.fromkeys(f"- {name}: {row.note}" for name, row in results if row.note)
    return "\n".join([*lines, "", *notes]).rstrip() + "\n"


def as_json(results: Sequence[tuple[str, Row]], machine: dict[str, Any]) -> str:
    """Return everything that the table has, for machines.

    Args:
        results: The subject's name with each row.
        machine: What it ran on.
    """
    rows = [{"subject": name, **asdict(row), "verdict": row.verdict} for name, row in results]
    return json.dumps({"machine": machine, "rows": rows}, indent=2, ensure_ascii=False) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(name: str, row: Row) -> list[str]:
    if row.value is None:
        middle, width = "–", "–"
    else:
        middle = _number(row.value.middle, row.unit)
        width = f"{_number(row.value.low, row.unit)} to {_number(row.value.high, row.unit)}"
    bar = f"{row.bar.sense} {_short(row.bar.must)} / {_short(row.bar.aim)}" if row.bar else ""
    return [name, row.measure, row.against, middle, width, bar, row.verdict]


def _number(value: float, unit: str) -> str:
    text = f"{value:,.0f}" if value == round(value) and unit != RATIO else _three_digits(value)
    return f"{text}{unit}" if unit in {RATIO, "%"} else f"{text} {unit}"


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    return f"{value:,.0f}" if magnitude >= 100 else f"{value:.1f}" if magnitude >= 10 else f"{value:.2f}"


def _short(value: float) -> str:
    return f"{value:g}"
