"""Where log lines end up."""

import io
import json
import os

from app.adapters.sinks import PIPE_BUF, FileDescriptorSink, StreamSink, chunks


def test_chunks_hold_whole_lines() -> None:
    """Lines are joined up to a size, and never cut."""
    assert chunks([b"aa\n", b"b\n", b"cccccc\n", b"d\n"], 5) == [b"aa\nb\n", b"cccccc\n", b"d\n"]


def test_pipe() -> None:
    """On a pipe no write is longer than what is atomic there."""
    reader, writer = os.pipe()
    sink = FileDescriptorSink(writer)
    assert sink._size == PIPE_BUF
    sink.write([b"one\n", b"two\n"])
    assert os.read(reader, 100) == b"one\ntwo\n"
    os.close(reader)
    os.close(writer)


def test_non_blocking_descriptor() -> None:
    """A descriptor that somebody made non-blocking loses nothing."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    line = b"x" * 4000 + b"\n"
    sink = FileDescriptorSink(writer)
    sink.write([line] * 10)
    assert os.read(reader, 100_000) == line * 10
    os.close(reader)
    os.close(writer)


def test_stream_that_cannot_write_every_character() -> None:
    """On a stream of few characters the others are escaped, and the line is still JSON."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    StreamSink(stream).write(['{"event":"caf\u00e9 \U0001f600"}\n'.encode()])
    assert json.loads(raw.getvalue())["event"] == "caf\u00e9 \U0001f600"
