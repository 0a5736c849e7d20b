"""Spans that go nowhere: recorded, queued and handed over as for a real exporter, then dropped."""

from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

# The default of 2,048 overflows in a burst, and a span that is lost costs less than one that is kept.
QUEUE = 65_536


class DroppingExporter(SpanExporter):
    """Takes every span and keeps none."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:  # noqa: ARG002 -- as the SDK calls it
        """Succeed."""
        return SpanExportResult.SUCCESS


def processor() -> BatchSpanProcessor:
    """Return the span processor that every traced application gets."""
    return BatchSpanProcessor(DroppingExporter(), max_queue_size=QUEUE)
