"""What a series is called, what its labels and buckets are, and which names are refused.

The names follow Prometheus's data model and naming practice: https://prometheus.io/docs/concepts/data_model/ and
https://prometheus.io/docs/practices/naming/.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Literal

# How the values that several processes have for one gauge become one.
Across = Literal["sum", "max", "min", "latest"]
# Seconds; the buckets that OpenTelemetry advises for HTTP
# (https://opentelemetry.io/docs/specs/semconv/http/http-metrics/).
DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# Prometheus makes samples of these names out of other series, and queries expect nothing else behind them.
_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created")


class Kind(StrEnum):
    """What a series can do."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Definition:
    """One family of series; two that differ in the help alone are the same.

    Args:
        kind: What it can do.
        name: Its name; a counter's without `_total`, which the exposition adds.
        help: One sentence for whoever reads the exposition.
        labels: The names of its labels.
        buckets: The upper bounds of a histogram's buckets, without the infinite one.
        across: How the values of several processes become one; only for a gauge.

    """

    kind: Kind
    name: str
    help: str = field(compare=False)
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    across: Across = "sum"

    @property
    def width(self) -> int:
        """How many numbers one combination of label values has."""
        if self.kind is Kind.HISTOGRAM:
            # Each bucket's count, that of the infinite one, and the sum.
            return len(self.buckets) + 2
        # A summary's count and sum; a value and when it was set.
        return 2 if self.kind is Kind.SUMMARY or self.across == "latest" else 1

    @property
    def initial(self) -> float:
        """What a number is before it is set: none, where a 0 of one process would hide what another one has set."""
        return 0.0 if self.kind is not Kind.GAUGE or self.across == "sum" else math.nan

    @property
    def sample_names(self) -> frozenset[str]:
        """The names that no other series may use."""
        suffixes = {Kind.COUNTER: ("_total",), Kind.GAUGE: ()}.get(self.kind, ("_bucket", "_count", "_sum"))
        return frozenset((self.name, *(self.name + suffix for suffix in suffixes)))


def define(
    kind: Kind,
    name: str,
    help: str,  # noqa: A002 -- the word that Prometheus and its library have for it
    labels: Sequence[str] = (),
    *,
    buckets: Sequence[float] = (),
    across: Across = "sum",
) -> Definition:
    """Return a definition that Prometheus takes.

    Args:
        kind: What the series can do.
        name: Its name; a counter's with or without `_total`.
        help: One sentence about it.
        labels: The names of its labels.
        buckets: The upper bounds of a histogram's buckets.
        across: How the values of several processes become one; only for a gauge.

    Raises:
        ValueError: A name, the help or the buckets are not allowed.

    """
    if kind is Kind.COUNTER:
        name = name.removesuffix("_total")
    _check_name(name)
    if not help.strip():
        msg = f"{name}: received an empty help; allowed: one sentence that says what is counted or measured"
        raise ValueError(msg)
    return Definition(kind, name, help, _labels(kind, name, labels), _buckets(kind, name, buckets), across)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.endswith(_SUFFIXES):
        msg = (
            f"received {name!r} as the name of a series; allowed: letters, digits and underscores, no digit first, and "
            f"none of the endings {', '.join(_SUFFIXES)} (only a counter may be given as <name>_total); for example "
            "orders_placed_total or invoice_duration_seconds"
        )
        raise ValueError(msg)


def _labels(kind: Kind, name: str, labels: Sequence[str]) -> tuple[str, ...]:
    taken = {Kind.HISTOGRAM: "le", Kind.SUMMARY: "quantile"}.get(kind)
    names = (labels,) if isinstance(labels, str) else tuple(labels)
    wrong = [label for label in names if not _NAME.fullmatch(label) or label.startswith("__") or label == taken]
    if isinstance(labels, str) or wrong or len(set(names)) < len(names):
        msg = (
            f"{name}: received the labels {labels!r}; allowed: a list of different names of letters, digits and "
            "underscores that begin with neither a digit nor two underscores"
        )
        msg += f", none of them {taken}" if taken else ""
        raise ValueError(msg)
    return names


def _buckets(kind: Kind, name: str, buckets: Sequence[float]) -> tuple[float, ...]:
    if kind is not Kind.HISTOGRAM:
        return ()
    bounds = tuple(float(bound) for bound in buckets if bound != math.inf)
    rising = all(low < high for low, high in pairwise(bounds))
    if not bounds or not rising or not all(map(math.isfinite, bounds)):
        msg = f"{name}: received the buckets {tuple(buckets)!r}; allowed: rising numbers, at least one"
        raise ValueError(msg)
    return bounds
