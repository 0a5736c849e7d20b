"""Metrics: what callers count and measure with. How they are exposed is the adapters' concern.

    orders_placed = counter("orders_placed_total", "Orders that were placed.", ["channel"])
    orders_placed.labels("web").inc()

Series that are made by the functions here are the process's, as loggers are; the service shows them on `/metrics`
beside its own.
"""

from .builtin import RESERVED
from .decorators import counted, in_progress, timed
from .definition import DURATIONS, Across, Definition, Kind, define
from .merging import Family, Source, merge
from .registry import LIMIT, Registry, Sample
from .series import OTHER, Counter, Gauge, Histogram, Series, Summary

OWN = Registry(reserved=RESERVED)
counter = OWN.counter
gauge = OWN.gauge
histogram = OWN.histogram
summary = OWN.summary
on_scrape = OWN.on_scrape

__all__ = [
    "DURATIONS",
    "LIMIT",
    "OTHER",
    "OWN",
    "Across",
    "Counter",
    "Definition",
    "Family",
    "Gauge",
    "Histogram",
    "Kind",
    "Registry",
    "Sample",
    "Series",
    "Source",
    "Summary",
    "counted",
    "counter",
    "define",
    "gauge",
    "histogram",
    "in_progress",
    "merge",
    "on_scrape",
    "summary",
    "timed",
]
