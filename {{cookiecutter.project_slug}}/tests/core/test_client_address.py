"""Who a request is from."""

import pytest
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.core.client_address import TrustedProxies

CALLER, PROXY, INNER = "203.0.113.9", "10.0.0.7", "127.0.0.1"
TRUSTED = ("127.0.0.1", "10.0.0.0/8", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (CALLER, None, CALLER),
        (CALLER, "198.51.100.1", CALLER),
        (CALLER, "127.0.0.1", CALLER),
        (INNER, None, INNER),
        (INNER, "", INNER),
        (INNER, CALLER, CALLER),
        (INNER, f"{CALLER}, {PROXY}", CALLER),
        (INNER, f"198.51.100.1, {CALLER}", CALLER),
        (INNER, f"{PROXY}, {CALLER}, {PROXY}", CALLER),
        (INNER, f"10.9.9.9, {PROXY}", "10.9.9.9"),
        (PROXY, f"{CALLER}:4711", CALLER),
        ("fd00::1", "[2001:db8::1]:99", "2001:db8::1"),
        ("fd00:0:0::1", "2001:db8::1", "2001:db8::1"),
        (INNER, f"unknown, {CALLER}", CALLER),
        (INNER, "unknown", "unknown"),
        (INNER, ", ", INNER),
        ("", CALLER, ""),
    ],
)
def test_client(peer: str, forwarded: str | None, client: str) -> None:
    """The caller is the last one in the list that is no trusted proxy; without such a proxy the list is ignored."""
    assert TrustedProxies(TRUSTED).client_of(peer, forwarded) == client


@pytest.mark.parametrize("made_up", ["198.51.100.1", "127.0.0.1", "10.1.1.1", "a" * 5000, "é", "[", "1:2:3", "::1%x"])
def test_spoofed(made_up: str) -> None:
    """Whatever a caller writes into the header, the address that the trusted proxy saw stands behind it."""
    assert TrustedProxies(TRUSTED).client_of(INNER, f"{made_up}, {CALLER}") == CALLER
    assert TrustedProxies(TRUSTED).client_of(CALLER, made_up) == CALLER
    assert TrustedProxies(()).client_of(INNER, made_up) == INNER


def test_anybody() -> None:
    """With `*` the first address counts, whoever says so."""
    assert TrustedProxies(["*"]).client_of(CALLER, f"198.51.100.1, {PROXY}") == "198.51.100.1"


@pytest.mark.parametrize("trusted", [TRUSTED, (), ("*",), ("10.0.0.1/8",)])
@pytest.mark.parametrize("peer", [CALLER, INNER, PROXY])
@pytest.mark.parametrize(
    "forwarded", [CALLER, f"{CALLER}, {PROXY}", f"x, {CALLER}:80, [fd00::2]:1", PROXY, "", "[::1", "[::1]x", "a:b"]
)
async def test_uvicorn_agrees(trusted: tuple[str, ...], peer: str, forwarded: str) -> None:
    """Uvicorn finds the same caller, and what it has set is not changed any more."""
    seen: list[str] = []

    async def app(scope: dict[str, tuple[str, int]], _receive: object, _send: object) -> None:
        seen.append(scope["client"][0])

    scope = {"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", forwarded.encode())]}
    await ProxyHeadersMiddleware(app, list(trusted))(scope, None, None)  # type: ignore[arg-type]
    proxies = TrustedProxies(trusted)
    assert proxies.client_of(peer, forwarded) == seen[0]
    assert proxies.client_of(seen[0], forwarded) == seen[0]
