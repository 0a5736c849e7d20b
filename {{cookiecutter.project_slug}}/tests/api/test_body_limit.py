"""The largest body that is read."""

from collections.abc import AsyncIterator

import httpx2
import pytest

from app.settings import Settings
from app.settings_groups import HttpSettings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Read no more than 100 bytes."""
    return settings.model_copy(update={"http": HttpSettings(max_body_bytes=100)})


async def chunks(total: int) -> AsyncIterator[bytes]:
    """Yield a body of unannounced length."""
    for _ in range(total // 10):
        yield b"x" * 10


@pytest.mark.parametrize("key", [{}, {"idempotency-key": "key-1"}])
async def test_announced_or_not(client: httpx2.AsyncClient, key: dict[str, str]) -> None:
    """A body beyond the limit is refused, whether its length was announced or not."""
    for content in (b"x" * 101, chunks(110)):
        response = await client.post("/orders", content=content, headers={"content-type": "application/json", **key})
        assert (response.status_code, response.json()["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_up_to_the_limit(client: httpx2.AsyncClient) -> None:
    """A body of exactly the limit is read."""
    body = b'{"sku":"T","quantity":1,"customer_email":"a@example.com"}'.ljust(100)
    response = await client.post("/orders", content=body, headers={"content-type": "application/json"})
    assert response.status_code == 201


async def test_malformed_length(client: httpx2.AsyncClient) -> None:
    """A length that is no number is refused."""
    response = await client.post("/orders", content=b"{}", headers={"content-length": "two"})
    assert response.status_code == 400
