"""Added time per request over bare FastAPI, in one process without a server."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from ..effort import Effort
from ..processes import child
from ..report import Row, Spread, at_most, ratios, spread

SOME, ALL = 0.01, 1.0
SHARES = {SOME: "1 % sampled", ALL: "all sampled"}
METHODS = ("GET", "POST")
TIMEOUT = 300.0
BAR = at_most(20, 10)


@dataclass(frozen=True, slots=True)
class Run:
    """What came out of the processes that compared one application with the bare one."""

    ratios: list[float]
    lines_per_request: float

    @property
    def added(self) -> Spread:
        """The time that the application adds, in percent of the bare one's."""
        return spread((ratio - 1) * 100 for ratio in self.ratios)


Runs = dict[tuple[str, str, float], Run]


def measure(effort: Effort) -> list[Row]:
    """Compare each application with the bare one, and with ours."""
    runs = collect(effort)
    return [*control(runs), *added_time(runs), *peers(runs)]


def collect(effort: Effort) -> Runs:
    """Return what came out for each application, endpoint and share of sampled requests."""
    return {key: compare(*key, effort) for key in combinations()}


def combinations() -> Iterator[tuple[str, str, float]]:
    """Yield application, endpoint and share."""
    yield "bare", "GET", SOME
    for method in METHODS:
        yield "documents", method, SOME
        for share in SHARES:
            yield "emitted", method, share
            yield "shelf", method, share


def compare(name: str, method: str, share: float, effort: Effort) -> Run:
    """Return the ratio of one application to the bare one in each of several processes.

    Args:
        name: The application's module.
        method: Which endpoint.
        share: The share of requests that are sampled.
        effort: How much of it.
    """
    results = [once(name, method, share, effort) for _ in range(effort.processes)]
    return Run([ratio for ratio, _ in results], statistics.median(lines for _, lines in results))


def once(name: str, method: str, share: float, effort: Effort) -> tuple[float, float]:
    """Return the median ratio over all pairs of one process, and how many lines a request wrote."""
    asked = {
        "name": name,
        "method": method,
        "sampled": share,
        "pairs": effort.pairs,
        "block": effort.block,
        "warm_up": effort.warm_up,
    }
    with child("in_process", asked, environment=sampler(share)) as process:
        result = process.result(TIMEOUT)
    return statistics.median(result["ratios"]), result["lines_per_request"]


def sampler(share: float) -> dict[str, str]:
    """Return OpenTelemetry's own variables for a share of sampled requests."""
    return {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(share)}


def control(runs: Runs) -> list[Row]:
    """Return what the method finds where there is nothing to find: its own error."""
    return [Row("added time, GET, the bare application twice", "itself", runs["bare", "GET", SOME].added, "%")]


def added_time(runs: Runs) -> list[Row]:
    """Return what the emitted application adds; only at 1 % is there a bar."""
    return [
        Row(
            f"added time, {method}, {SHARES[share]}",
            "bare FastAPI",
            runs["emitted", method, share].added,
            "%",
            BAR if share == SOME else None,
            note=f"ours writes {runs['emitted', method, share].lines_per_request:g} log line(s) a request",
        )
        for share in SHARES
        for method in METHODS
    ]


def peers(runs: Runs) -> list[Row]:
    """Return how often the emitted application's request fits into that of its peers."""
    return [
        Row(
            f"time of {label}, {method}, {SHARES[share]}",
            "ours",
            ratios(runs[name, method, share].ratios, runs["emitted", method, share].ratios),
            note=f"{label} writes {runs[name, method, share].lines_per_request:g} log line(s) a request",
        )
        for name, label, share in (
            ("documents", "the documents' style", SOME),
            ("shelf", "the off-the-shelf stack", SOME),
            ("shelf", "the off-the-shelf stack", ALL),
        )
        for method in METHODS
    ]
