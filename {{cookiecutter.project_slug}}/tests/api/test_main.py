"""The entry point: what holds for the whole process."""

from ..collectors import collector
from ..processes import run_python

ORDER = """
import asyncio, sys
import httpx2
from opentelemetry import trace
from app.api import server
from app.api.__main__ import main
tracer = trace.get_tracer("library")
def serve(app, *_):
    @app.get("/library")
    async def library():
        with tracer.start_as_current_span("library"):
            return 1
    async def order():
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
                order = {"sku": "T", "quantity": 1, "customer_email": "ada" + "@example.com"}
                print((await client.post("/orders", json=order)).status_code, (await client.get("/library")).text)
    asyncio.run(order())
    return True
server.serve = serve
sys.exit(main())
"""


def test_spans_of_a_request() -> None:
    """A request's statements and what libraries do in it are below its span, and all of it is exported at the stop."""
    with collector() as collected:
        ended = run_python("-c", ORDER, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url, LOG__LEVEL="ERROR")
    assert (ended.stdout, ended.stderr, ended.returncode) == ("201 1\n", "", 0)
    spans = {span.name: span for span in collected.spans}
    order, library = spans["POST /orders"], spans["GET /library"]
    above = {name: span.parent_span_id for name, span in spans.items()}
    assert (above["INSERT orders"], above["COMMIT"], above["library"]) == (
        order.span_id,
        order.span_id,
        library.span_id,
    )
    assert b"@example.com" not in b"".join(body for _, body in collected)
