"""Make one exposition of the numbers of several processes, and of several registries in one process."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from .definition import Definition, Kind
from .registry import Sample


@dataclass(slots=True)
class Source:
    """What one process counted.

    Args:
        samples: Its numbers.
        is_alive: Whether it still runs; what a dead one counted stays, its gauges do not.

    """

    samples: Iterable[Sample]
    is_alive: bool = True


@dataclass(slots=True)
class Family:
    """A series' numbers by the values of its labels."""

    definition: Definition
    rows: dict[tuple[str, ...], list[float]] = field(default_factory=dict)


def merge(sources: Iterable[Source]) -> list[Family]:
    """Return the numbers of all processes together, by name.

    Args:
        sources: What each of them counted.

    """
    families: dict[str, Family] = {}
    for source in sources:
        for definition, values, numbers in source.samples:
            is_gauge = definition.kind is Kind.GAUGE
            # NaN: not set yet, or left behind by the process that this one took the place of.
            if is_gauge and (not source.is_alive or math.isnan(numbers[0])):
                continue
            family = families.setdefault(definition.name, Family(definition))
            if family.definition == definition:
                before = family.rows.get(values)
                family.rows[values] = numbers if before is None else _together(definition, before, numbers)
    return [families[name] for name in sorted(families)]


def _together(definition: Definition, first: list[float], second: list[float]) -> list[float]:
    if definition.kind is not Kind.GAUGE or definition.across == "sum":
        return [one + other for one, other in zip(first, second, strict=True)]
    # By the value, or by the time at which it was set.
    key = -1 if definition.across == "latest" else 0
    return (min if definition.across == "min" else max)(first, second, key=lambda numbers: numbers[key])
