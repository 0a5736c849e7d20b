"""Spans to a collector: OTLP over HTTP, in protobuf (https://opentelemetry.io/docs/specs/otlp/#otlphttp).

One connection is kept and used by one thread. The standard library's client: no other is loaded for a request every few
seconds, and no instrumentation of clients makes spans of the export itself.
"""

import base64
import codecs
import gzip
import http.client
import ssl
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ..core.otlp import Encoder, rejected_spans
from ..core.redaction import redact_text
from ..core.span_redaction import redact_spans
from ..core.spans import RecordedSpan
from ..otel_settings import TracesEndpoint
from .span_queue import Sent

RETRYABLE = frozenset({429, 502, 503, 504})
MAX_ANSWER_BYTES = 65536
DEFAULT_PORTS = {"http": 80, "https": 443}
Connection = http.client.HTTPConnection
# Looking up an address imports this when it is first done: in a process that is forked meanwhile it would wait forever.
codecs.lookup("idna")


class Answer(NamedTuple):
    """What a collector answered."""

    status: int
    retry_after: str
    body: bytes


class OtlpExporter:
    """Sends spans to a collector.

    Args:
        endpoint: Where it is.
        resource: The attributes of who is speaking.

    """

    def __init__(self, endpoint: TracesEndpoint, resource: Mapping[str, object]) -> None:
        self._endpoint = endpoint
        self._encoder = Encoder(resource)
        self._url = urlsplit(endpoint.url)
        self._connection: Connection | None = None
        self._headers = _headers(endpoint, self._url)
        self._target = self._url._replace(scheme="", netloc="", fragment="").geturl() or "/"

    def encode(self, spans: Sequence[RecordedSpan]) -> bytes:
        """Return the body of a request."""
        redact_spans(spans)
        body = self._encoder.request(spans)
        return gzip.compress(body, 5) if self._endpoint.compress else body

    def send(self, batch: bytes, count: int, timeout: float) -> Sent:
        """Post a body; the time is bounded for each step of it."""
        timeout = min(timeout, self._endpoint.timeout)
        try:
            return self._post(batch, count, timeout)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            return Sent(count, redact_text(f"{type(error).__qualname__}: {error}"), may_retry=True)

    def _post(self, batch: bytes, count: int, timeout: float) -> Sent:
        is_kept = self._connection is not None
        try:
            answer = self._exchange(batch, timeout)
        except (ConnectionError, http.client.BadStatusLine, ssl.SSLEOFError):
            self.close()
            # A connection that was kept may have been closed by the other side meanwhile: that is no trouble.
            if not is_kept:
                raise
            answer = self._exchange(batch, timeout)
        return _outcome(answer, count)

    def _exchange(self, batch: bytes, timeout: float) -> Answer:
        connection = self._connected(timeout)
        connection.request("POST", self._target, batch, self._headers)
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES)
        if response.will_close or not response.isclosed():
            self.close()
        return Answer(response.status, response.getheader("retry-after") or "", body)

    def _connected(self, timeout: float) -> Connection:
        if self._connection is None:
            self._connection = self._connect(timeout)
        self._connection.timeout = timeout
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        return self._connection

    def _connect(self, timeout: float) -> Connection:
        proxy = _proxy(self._url)
        host, port = str(self._url.hostname), self._url.port or DEFAULT_PORTS[self._url.scheme]
        at, at_port = (str(proxy.hostname), proxy.port or DEFAULT_PORTS[proxy.scheme]) if proxy else (host, port)
        if self._url.scheme == "http":
            if proxy:
                self._target = self._endpoint.url
                self._headers |= _credentials("Proxy-Authorization", proxy)
            return http.client.HTTPConnection(at, at_port, timeout=timeout)
        connection = http.client.HTTPSConnection(at, at_port, timeout=timeout, context=self._trust)
        if proxy:
            connection.set_tunnel(host, port, _credentials("Proxy-Authorization", proxy))
        return connection

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        """Whom to trust: read from files once, not for every connection."""
        endpoint = self._endpoint
        context = ssl.create_default_context(cafile=endpoint.certificate)
        if endpoint.client_certificate:
            context.load_cert_chain(endpoint.client_certificate, endpoint.client_key)
        return context

    def close(self) -> None:
        """Close the connection; the next batch opens one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _headers(endpoint: TracesEndpoint, url: SplitResult) -> dict[str, str]:
    encoding = {"Content-Encoding": "gzip"} if endpoint.compress else {}
    own = {"Content-Type": "application/x-protobuf", "User-Agent": "app-otlp", **_credentials("Authorization", url)}
    return {**own, **encoding, **endpoint.headers}


def _credentials(name: str, url: SplitResult) -> dict[str, str]:
    """Return the header for the user and password in an address, if there are any."""
    if url.username is None:
        return {}
    pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
    return {name: "Basic " + base64.b64encode(pair.encode()).decode()}


def _proxy(url: SplitResult) -> SplitResult | None:
    """Return the proxy that the environment names for an address: `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`."""
    proxies = getproxies()
    address = proxies.get(url.scheme) or proxies.get("all")
    if not address or proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    return urlsplit(address if "://" in address else f"http://{address}")


def _outcome(answer: Answer, count: int) -> Sent:
    if 200 <= answer.status < 300:
        lost, reason = rejected_spans(answer.body)
        return Sent(min(lost, count), redact_text(reason))
    reason = f"the collector answered {answer.status}"
    return Sent(count, reason, answer.status in RETRYABLE, _seconds(answer.retry_after))


def _seconds(retry_after: str) -> float | None:
    """Return how long a `Retry-After` asks to wait (RFC 9110, section 10.2.3), or None when it says nothing."""
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None
