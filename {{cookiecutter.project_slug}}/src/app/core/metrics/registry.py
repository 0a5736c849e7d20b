"""Where series are defined: each name once, however often the code that defines it runs."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from ..logging import get_logger
from .definition import DURATIONS, Across, Definition, Kind, define
from .series import LOCK, Allocate, Cells, Counter, Gauge, Histogram, Series, Summary, in_memory

log = get_logger(__name__)
# Combinations of label values per series; each is a line in every scrape, or one per bucket.
LIMIT = 2000
OVERFLOWS = define(
    Kind.COUNTER,
    "metrics_label_overflows_total",
    "Look-ups of label values that were counted as _OTHER, because the series has too many.",
    ["metric"],
)

Sample = tuple[Definition, tuple[str, ...], list[float]]
_Of = TypeVar("_Of", bound=Series)
_Refresh = TypeVar("_Refresh", bound=Callable[[], None])


class Registry:
    """A set of series.

    Args:
        limit: How many combinations of label values a series may have; those beyond it count as `_OTHER`.
        reserved: Names, and beginnings of names that end in `_`, which nobody may define here.

    """

    def __init__(self, *, limit: int = LIMIT, reserved: Collection[str] = ()) -> None:
        self.limit = limit
        self._reserved = frozenset(reserved)
        self._series: dict[str, Series] = {}
        self._names: set[str] = set()
        self._allocate: Allocate = in_memory
        self._refreshing: list[Callable[[], None]] = []
        self._said: set[object] = set()

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:  # noqa: A002
        """Return a counter: it counts what happens.

        Args:
            name: Its name, such as `orders_placed_total`.
            help: One sentence about it.
            labels: The names of its labels.

        Raises:
            ValueError: The definition is not allowed, or differs from the one that the name has.

        """
        return self.add(Counter, define(Kind.COUNTER, name, help, labels))

    def gauge(self, name: str, help: str, labels: Sequence[str] = (), *, across: Across = "sum") -> Gauge:  # noqa: A002
        """Return a gauge: a value that rises and falls.

        Args:
            name: Its name, such as `queue_length`.
            help: One sentence about it.
            labels: The names of its labels.
            across: How the values of several worker processes become one; `latest` is the one that was set last.

        Raises:
            ValueError: The definition is not allowed, or differs from the one that the name has.

        """
        return self.add(Gauge, define(Kind.GAUGE, name, help, labels, across=across))

    def histogram(
        self,
        name: str,
        help: str,  # noqa: A002
        labels: Sequence[str] = (),
        *,
        buckets: Sequence[float] = DURATIONS,
    ) -> Histogram:
        """Return a histogram: it counts values by size.

        Args:
            name: Its name with the unit, such as `invoice_duration_seconds`.
            help: One sentence about it.
            labels: The names of its labels.
            buckets: The upper bounds of its buckets, rising; by default such as suit requests, in seconds.

        Raises:
            ValueError: The definition is not allowed, or differs from the one that the name has.

        """
        return self.add(Histogram, define(Kind.HISTOGRAM, name, help, labels, buckets=buckets))

    def summary(self, name: str, help: str, labels: Sequence[str] = ()) -> Summary:  # noqa: A002
        """Return a summary: the number of values and their sum.

        Args:
            name: Its name with the unit, such as `invoice_size_bytes`.
            help: One sentence about it.
            labels: The names of its labels.

        Raises:
            ValueError: The definition is not allowed, or differs from the one that the name has.

        """
        return self.add(Summary, define(Kind.SUMMARY, name, help, labels))

    def add(self, kind: type[_Of], definition: Definition) -> _Of:
        """Return the series of a definition, the same one each time.

        Args:
            kind: Its class.
            definition: Its name and labels.

        Raises:
            ValueError: The name has another definition already, or is reserved.

        """
        with LOCK:
            known = self._series.get(definition.name)
            if isinstance(known, kind) and (known.definition is definition or known.definition == definition):
                return known
            self._refuse_taken(definition, known)
            self._names |= definition.sample_names
            # In this order: allocating may find that there is no room.
            series = self._series[definition.name] = kind(definition, self)
            return series

    def on_scrape(self, refresh: _Refresh) -> _Refresh:
        """Call a function before each scrape, to set gauges whose values stand elsewhere; usable as a decorator.

        Args:
            refresh: Sets them. It is called in a thread, and must not wait for anything.

        """
        self._refreshing.append(refresh)
        return refresh

    def refresh(self) -> None:
        """Bring up to date what is only read at a scrape; what fails is logged once and keeps its last value."""
        for refresh in list(self._refreshing):
            try:
                refresh()
            except Exception as error:  # one that fails must not hide all the other series
                if self._says_first(refresh):
                    log.warning("metrics.refresh_failed", function=_name_of(refresh), exc_info=error)

    def samples(self) -> list[Sample]:
        """Return every combination of label values with a copy of its numbers."""
        with LOCK:
            return [(s.definition, s.values or (), list(s.cells)) for s in self._all()]

    def move(self, allocate: Allocate, *, keep: bool = True) -> None:
        """Let all series have their numbers elsewhere from now on.

        Args:
            allocate: Returns the cells of a combination of label values, which may hold numbers already.
            keep: Whether the numbers go along, or stay where they are and count there.

        """
        with LOCK:
            self._allocate = allocate
            for series in self._all():
                old, series.cells = series.cells, allocate(series.definition, series.values or ())
                if keep:
                    _carry_over(old, series)

    def allocate(self, definition: Definition, values: tuple[str, ...], /) -> Cells:
        """Return the cells of a combination of label values.

        Args:
            definition: The series' definition.
            values: The values of its labels.

        """
        return self._allocate(definition, values)

    def overflowed(self, definition: Definition, /) -> None:
        """Count, and log once, that a series has more combinations than are kept apart.

        Args:
            definition: The series' definition.

        """
        if definition == OVERFLOWS:
            return
        self.add(Counter, OVERFLOWS).labels(definition.name).inc()
        if self._says_first(definition.name):
            log.warning("metrics.too_many_labels", metric=definition.name, limit=self.limit)

    def _refuse_taken(self, definition: Definition, known: Series | None) -> None:
        if known is not None:
            msg = (
                f"{definition.name} is defined already, as {known.definition}; received {definition}; "
                "a series is defined once, or with the same kind, labels and buckets"
            )
            raise ValueError(msg)
        names = definition.sample_names
        if names & self._reserved or any(definition.name.startswith(r) for r in self._reserved if r.endswith("_")):
            msg = f"received {definition.name!r}; the service itself has a series of this name: choose another"
            raise ValueError(msg)
        if names & self._names:
            msg = f"{definition.name}: another series has samples called {', '.join(sorted(names & self._names))}"
            raise ValueError(msg)

    def _says_first(self, subject: object) -> bool:
        with LOCK:
            is_first = subject not in self._said
            self._said.add(subject)
            return is_first

    def _all(self) -> Iterator[Series]:
        for family in list(self._series.values()):
            yield from family.combinations()


def _carry_over(old: Cells, series: Series) -> None:
    """Move what was counted to what a predecessor had counted in the new place; a gauge is as it was."""
    adds_up = series.definition.kind is not Kind.GAUGE
    for index, number in enumerate(list(old)):
        series.cells[index] = series.cells[index] + number if adds_up else number
        old[index] = 0


def _name_of(function: Callable[[], None]) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
