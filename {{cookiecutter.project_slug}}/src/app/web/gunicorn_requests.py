"""What gunicorn hands on of a request, made good before an application sees it."""

from typing import Any, Protocol

from gunicorn.http.body import Body
from gunicorn.http.errors import NoMoreData, ParseException

from ..core.errors import InfrastructureError, MalformedInputError
from ..core.idempotency_http import HEADER

_KEY = HEADER.upper()


class Ending(Protocol):
    """What may end while a request is read."""

    is_cutting_off: bool


class IncompleteBodyError(NoMoreData):
    """The client went away before its request was whole."""

    def __str__(self) -> str:
        return "the client went away before its request was whole"


class WholeBody(Body):
    """A request's body, of which no part is taken for the whole: gunicorn's own ends where the connection ends.

    Args:
        body: Gunicorn's.
        size: How many bytes were announced; None when only the end of a chunked body will tell.
        worker: Who knows whether it is the process that ends what is in flight, and not the client.

    """

    def __init__(self, body: Body, size: int | None, worker: Ending) -> None:
        super().__init__(body.reader)
        self._missing = size
        self._worker = worker

    def _read_reader(self, size: int) -> bytes:
        try:
            data: bytes = super()._read_reader(size)
        except ParseException as error:
            raise MalformedInputError(public_message="The request's body breaks the rules of its coding.") from error
        except OSError as error:
            raise self._incomplete() from error
        if self._missing is not None:
            if self._missing and not data:
                raise self._incomplete()
            self._missing -= len(data)
        return data

    def _incomplete(self) -> Exception:
        # Where the next request begins is not known.
        self.failed = True
        if self._worker.is_cutting_off:
            return InfrastructureError("the process ended before the request was whole")
        return IncompleteBodyError()


def before_request(worker: Ending, request: Any) -> None:
    """Prepare a request, as gunicorn's hook `pre_request`.

    Args:
        worker: Who handles it.
        request: It, as it was read.

    """
    # WSGI joins two keys by a comma, which a quoted one may hold. An empty one is malformed for sure.
    if sum(name == _KEY for name, _ in request.headers) > 1:
        request.headers = [(name, value) for name, value in request.headers if name != _KEY] + [(_KEY, "")]
    size = next((int(value) for name, value in request.headers if name == "CONTENT-LENGTH"), None)
    request.body = WholeBody(request.body, size, worker)
