"""Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/), and what it knows by itself.

The library renders, and reads what the operating system and the interpreter tell of this process.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from ..core.metrics import Across, Counter, Family, Gauge, Kind, Registry, define

CONTENT_TYPE = CONTENT_TYPE_LATEST
# Of these the processes' values do not add up: a limit is reached by one of them, and the youngest one restarted.
_ACROSS: dict[str, Across] = {
    "process_max_fds": "min",
    "process_open_fds": "max",
    "process_start_time_seconds": "max",
    "python_info": "max",
}


class _Collected(Collector):
    """What the library takes for a registry: it renders what stands in one."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield each series in the library's shape."""
        return map(_in_library_shape, self._families)


def render(families: Iterable[Family]) -> bytes:
    """Return the exposition of series.

    Args:
        families: Their numbers.

    """
    return generate_latest(_Collected(families))


def _in_library_shape(family: Family) -> Metric:
    definition = family.definition
    rows = family.rows.items()
    name, text, labels = definition.name, definition.help, definition.labels
    if definition.kind is Kind.COUNTER:
        counter = CounterMetricFamily(name, text, labels=labels)
        for values, numbers in rows:
            counter.add_metric(values, numbers[0])
        return counter
    if definition.kind is Kind.GAUGE:
        gauge = GaugeMetricFamily(name, text, labels=labels)
        for values, numbers in rows:
            gauge.add_metric(values, numbers[0])
        return gauge
    if definition.kind is Kind.SUMMARY:
        summary = SummaryMetricFamily(name, text, labels=labels)
        for values, numbers in rows:
            summary.add_metric(values, int(numbers[0]), numbers[1])
        return summary
    return _histogram(family)


def _histogram(family: Family) -> HistogramMetricFamily:
    definition = family.definition
    histogram = HistogramMetricFamily(definition.name, definition.help, labels=definition.labels)
    bounds = [*map(floatToGoString, definition.buckets), "+Inf"]
    for values, numbers in family.rows.items():
        # A bucket's sample counts those of all smaller buckets too.
        histogram.add_metric(values, list(zip(bounds, accumulate(numbers[:-1]), strict=True)), numbers[-1])
    return histogram


def watch_process(registry: Registry) -> None:
    """Show what the operating system and the interpreter tell of this process.

    Args:
        registry: Where it is shown.

    """
    nowhere = CollectorRegistry()
    for collector in (ProcessCollector(registry=None), PlatformCollector(registry=None), GCCollector(nowhere)):
        registry.on_scrape(partial(_take_over, registry, collector))


def _take_over(registry: Registry, collector: Collector) -> None:
    for metric in collector.collect():
        labels = tuple(metric.samples[0].labels) if metric.samples else ()
        for sample in metric.samples:
            if metric.type == "counter":
                counted = registry.add(Counter, define(Kind.COUNTER, metric.name, metric.documentation, labels))
                counted.labels(**sample.labels).follow(sample.value)
            else:
                across = _ACROSS.get(metric.name, "sum")
                shown = define(Kind.GAUGE, metric.name, metric.documentation, labels, across=across)
                registry.add(Gauge, shown).labels(**sample.labels).set(sample.value)
