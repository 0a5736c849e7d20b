"""OpenTelemetry's global tracer provider: spans of libraries and their instrumentations go where the service's own go.

They need OpenTelemetry's API only: with `opentelemetry-instrumentation-redis` installed, it takes no more than
`RedisInstrumentor().instrument()`.
"""

from collections.abc import Iterator, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer, TracerProvider, use_span
from opentelemetry.util import types
from opentelemetry.util._decorator import _agnosticcontextmanager

from ..core.spans import RecordedSpan, Scope
from ..core.tracing import position_of
from .tracing import Tracing


class ServiceTracerProvider(TracerProvider):
    """Hands out tracers whose spans are the service's.

    Args:
        tracing: What starts spans.

    """

    def __init__(self, tracing: Tracing) -> None:
        # Libraries keep their tracers: these ask here each time.
        self.tracing = tracing

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,  # noqa: ARG002 -- OpenTelemetry's signature
        attributes: types.Attributes = None,  # noqa: ARG002
    ) -> Tracer:
        """Return a tracer for a library."""
        return ServiceTracer(self, (instrumenting_module_name, instrumenting_library_version or ""))


class ServiceTracer(Tracer):
    """Starts spans for a library.

    Args:
        provider: What handed it out.
        scope: The library's name and version.

    """

    def __init__(self, provider: ServiceTracerProvider, scope: Scope) -> None:
        self._provider = provider
        self._scope = scope

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,  # noqa: ARG002 -- OpenTelemetry's signature
        set_status_on_exception: bool = True,  # noqa: ARG002
    ) -> Span:
        """Return a new span below the context's, or below the current one."""
        above = trace.get_current_span(context)
        is_remote = above.get_span_context().is_remote
        span = self._provider.tracing.start(
            name, kind=kind, parent=position_of(above), is_remote=is_remote, attributes=dict(attributes or {})
        )
        if isinstance(span, RecordedSpan):
            span.scope = self._scope
            span.start_time = start_time or span.start_time
            for link in links or ():
                span.add_link(link.context, link.attributes)
        return span

    @_agnosticcontextmanager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[Span]:
        """Start a span and make it the current one within the block, or around a function as a decorator."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span


def install_tracer_provider(tracing: Tracing) -> None:
    """Make the service's tracing OpenTelemetry's global one; a provider that the owner has set stays.

    Args:
        tracing: What starts spans.

    """
    installed = trace.get_tracer_provider()
    if isinstance(installed, ServiceTracerProvider):
        installed.tracing = tracing
    elif isinstance(installed, trace.ProxyTracerProvider):
        trace.set_tracer_provider(ServiceTracerProvider(tracing))
