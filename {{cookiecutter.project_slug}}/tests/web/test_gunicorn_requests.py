"""What gunicorn hands on of a request: a whole body or none, and no two keys as one."""

from io import BytesIO
from types import SimpleNamespace

import pytest
from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.unreader import IterUnreader

from app.core.errors import InfrastructureError, MalformedInputError
from app.web.gunicorn_requests import IncompleteBodyError, WholeBody, before_request

WORKER = SimpleNamespace(is_cutting_off=False)
ENDING = SimpleNamespace(is_cutting_off=True)


def announced(size: int, *parts: bytes) -> Body:
    """Return gunicorn's body of an announced size."""
    return Body(LengthReader(IterUnreader(parts), size))


def chunked(*parts: bytes) -> Body:
    """Return gunicorn's body of an unknown size."""
    return Body(ChunkedReader(SimpleNamespace(), IterUnreader(parts)))


@pytest.mark.parametrize("step", [1, 3, 4096])
def test_whole_body(step: int) -> None:
    """A body that comes in pieces is read whole, however it is asked for, and then ends."""
    body = WholeBody(announced(6, b"ab", b"cd", b"ef", b"next request"), 6, WORKER)
    read = b""
    while part := body.read(step):
        read += part
    assert read == b"abcdef"
    assert not body.failed


def test_body_without_end() -> None:
    """What ends before all that was announced is there is not taken for the whole; the connection is done with."""
    body = WholeBody(announced(6, b"ab", b"c"), 6, WORKER)
    with pytest.raises(IncompleteBodyError, match="the client went away"):
        body.read()
    assert body.failed


def test_connection_that_breaks() -> None:
    """A connection that breaks is a client that goes away."""

    def parts() -> object:
        yield b"ab"
        raise ConnectionResetError

    with pytest.raises(IncompleteBodyError):
        WholeBody(Body(LengthReader(IterUnreader(parts()), 6)), 6, WORKER).read()


def test_process_that_ends() -> None:
    """When it is the process that ends what is in flight, that is no fault of the client's."""
    with pytest.raises(InfrastructureError):
        WholeBody(announced(6, b"ab"), 6, ENDING).read()


def test_chunks() -> None:
    """A body of an unknown size ends where it says; what breaks its rules is the client's error."""
    assert WholeBody(chunked(b"2\r\nab\r\n1\r\n", b"c\r\n0\r\n\r\n"), None, WORKER).read() == b"abc"
    broken = WholeBody(chunked(b"zq\r\n"), None, WORKER)
    with pytest.raises(MalformedInputError):
        broken.read()
    assert broken.failed
    with pytest.raises(IncompleteBodyError):
        WholeBody(chunked(b"2\r\na"), None, WORKER).read()


def request(*headers: tuple[str, str]) -> SimpleNamespace:
    """Return a request as gunicorn reads it."""
    return SimpleNamespace(headers=list(headers), body=Body(LengthReader(IterUnreader([b"ab"]), 6)))


def test_keys() -> None:
    """One key stays as it is; two become one that is malformed, since joined they might be a third."""
    one = request(("IDEMPOTENCY-KEY", '"a'), ("ACCEPT", "*/*"))
    before_request(WORKER, one)
    assert one.headers == [("IDEMPOTENCY-KEY", '"a'), ("ACCEPT", "*/*")]
    two = request(("IDEMPOTENCY-KEY", '"a'), ("ACCEPT", "*/*"), ("IDEMPOTENCY-KEY", 'b"'))
    before_request(WORKER, two)
    assert two.headers == [("ACCEPT", "*/*"), ("IDEMPOTENCY-KEY", "")]


def test_announced_size() -> None:
    """The size that a body must have is the announced one."""
    cut = request(("CONTENT-LENGTH", "6"))
    before_request(WORKER, cut)
    with pytest.raises(IncompleteBodyError):
        cut.body.read()
    unknown = request()
    before_request(WORKER, unknown)
    assert unknown.body.read() == b"ab"


def test_stream() -> None:
    """A body is read by lines like a file, as WSGI wants it."""
    assert list(WholeBody(announced(6, b"a\nb", b"\ncc"), 6, WORKER)) == list(BytesIO(b"a\nb\ncc"))
