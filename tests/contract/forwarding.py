"""
`POST /test` on top of the service's FastAPI app: it calls the addresses that it is sent, one after the other.

The trace context harness of the W3C asks for such an endpoint. Only tests mount it: it calls whatever it is told to.
"""

# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"

from app.adapters.http_client import create_http_client
from app.bootstrap import Services
from fastapi import FastAPI, Request


def add_forwarding(app: FastAPI, services: Services) -> None:
    """Add the endpoint to *app*, which calls others as the service itself would."""

    @app.post("/test")
    async def forward(request: Request) -> list[int]:
        """Post each call's `arguments` to its `url`, and return the statuses."""
        calls = await request.json()
        calls = calls if isinstance(calls, list) else [calls]
        # A proxy from the environment would see the calls, and might alter their headers.
        async with create_http_client(services.tracing, trust_env=False) as client:
            return [(await client.post(call["url"], json=call["arguments"])).status_code for call in calls]
