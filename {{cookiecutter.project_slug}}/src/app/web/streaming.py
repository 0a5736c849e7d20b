"""Answers that are made while they are sent: they are over when their last byte is given, or nobody takes more."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import cast

from django.http import StreamingHttpResponse

OnEnd = Callable[[Exception | None], None]


class _Watched:
    """Content that tells once when it is over; what makes it runs within the request's context.

    Args:
        around: What each part is made in.
        on_end: Called with what broke the content, or with None.

    """

    def __init__(self, around: AbstractContextManager[None], on_end: OnEnd) -> None:
        self._around = around
        self._on_end: OnEnd | None = on_end

    def _end(self, error: Exception | None) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(error)

    def close(self) -> None:
        """End, as the server does when it has sent all or the caller has gone."""
        self._end(None)


class _Parts(_Watched, Iterator[bytes]):
    def __init__(self, parts: Iterator[bytes], around: AbstractContextManager[None], on_end: OnEnd) -> None:
        super().__init__(around, on_end)
        self._parts = parts

    def __next__(self) -> bytes:
        try:
            with self._around:
                return next(self._parts)
        except StopIteration:
            self._end(None)
            raise
        except Exception as error:
            self._end(error)
            raise


class _AsyncParts(_Watched, AsyncIterator[bytes]):
    def __init__(self, parts: AsyncIterator[bytes], around: AbstractContextManager[None], on_end: OnEnd) -> None:
        super().__init__(around, on_end)
        self._parts = parts

    async def __anext__(self) -> bytes:
        try:
            with self._around:
                return await anext(self._parts)
        except StopAsyncIteration:
            self._end(None)
            raise
        except Exception as error:
            self._end(error)
            raise


def watch(response: StreamingHttpResponse, around: AbstractContextManager[None], on_end: OnEnd) -> None:
    """Let an answer tell when it is over.

    Args:
        response: The answer, whose content is made while it is sent.
        around: What each part of it is made in.
        on_end: Called once, with what broke the content, or with None.

    """
    content = response.streaming_content
    if response.is_async:
        response.streaming_content = _AsyncParts(cast(AsyncIterator[bytes], content), around, on_end)
    else:
        response.streaming_content = _Parts(cast(Iterator[bytes], content), around, on_end)
