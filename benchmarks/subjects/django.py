"""Added time per request over bare Django with the same Django middleware, under WSGI and ASGI, without a server."""

import statistics
from collections.abc import Iterator

from ..effort import Effort
from ..processes import child
from ..report import Row, at_most, spread
from .in_process import ALL, METHODS, SHARES, TIMEOUT, Run, sampler

INTERFACES = {"wsgi": at_most(1.6, 1.35), "asgi": at_most(1.3, 1.12)}
LABELS = {"emitted": "ours", "shelf": "django-structlog, django-prometheus and OpenTelemetry's instrumentation"}


def measure(effort: Effort) -> list[Row]:
    """Compare each stack with bare Django."""
    return [row(*combination, effort) for combination in combinations()]


def combinations() -> Iterator[tuple[str, str, str, float]]:
    """Yield stack, interface, endpoint and share; the peers only once each."""
    for interface in INTERFACES:
        for method in METHODS:
            for share in SHARES:
                yield "emitted", interface, method, share
        yield "shelf", interface, "GET", ALL


def row(stack: str, interface: str, method: str, share: float, effort: Effort) -> Row:
    """Return what one stack costs; only ours, with all requests sampled, has a bar.

    Args:
        stack: Which one.
        interface: `wsgi` or `asgi`.
        method: The endpoint.
        share: The share of requests that are sampled.
        effort: How much of it.
    """
    run = compare(stack, interface, method, share, effort)
    return Row(
        f"time, {interface.upper()}, {method}, {SHARES[share]}, {LABELS[stack]}",
        "bare Django",
        spread(run.ratios),
        bar=INTERFACES[interface] if stack == "emitted" and share == ALL else None,
        note=f"{LABELS[stack]}: {run.lines_per_request:g} log line(s) a request",
    )


def compare(stack: str, interface: str, method: str, share: float, effort: Effort) -> Run:
    """Return the ratio of one stack to bare Django in each of several processes."""
    results = [once(stack, interface, method, share, effort) for _ in range(effort.processes)]
    return Run([ratio for ratio, _ in results], statistics.median(lines for _, lines in results))


def once(stack: str, interface: str, method: str, share: float, effort: Effort) -> tuple[float, float]:
    """Return the median ratio over all pairs of one process, and how many lines a request wrote."""
    asked = {
        "stack": stack,
        "interface": interface,
        "method": method,
        "sampled": share,
        "pairs": effort.pairs,
        "block": effort.block,
        "warm_up": effort.warm_up,
    }
    with child("django_in_process", asked, environment=sampler(share)) as process:
        result = process.result(TIMEOUT)
    return statistics.median(result["ratios"]), result["lines_per_request"]
