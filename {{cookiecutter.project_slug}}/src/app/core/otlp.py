"""Spans as an export request of OTLP 1.x in protobuf's wire format.

The messages are those of opentelemetry-proto's `trace_service.proto` and `trace.proto`
(https://github.com/open-telemetry/opentelemetry-proto); the format is https://protobuf.dev/programming-guides/encoding/.
Names, methods, routes and the like repeat in every span, so their encoded form is kept.
"""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode

from .spans import Event, Link, RecordedSpan, Scope

_CACHE_SIZE = 4096
_CACHED_LENGTH = 64
_MAX_DEPTH = 8
_INT64 = 1 << 63
_UINT64 = (1 << 64) - 1
_HAS_IS_REMOTE = 0x100
_IS_REMOTE = 0x200
# Start and end of a span, each after its tag.
_TIMES = struct.Struct("<BQBQ")
_TIME = struct.Struct("<BQ")
_DOUBLE = struct.Struct("<Bd")
_FLAGS = struct.Struct("<BBI")
_LINK_FLAGS = struct.Struct("<BI")
_KINDS = {kind: bytes((0x30, kind.value + 1)) for kind in SpanKind}
_STATUSES = {StatusCode.OK: b"\x18\x01", StatusCode.ERROR: b"\x18\x02"}
_SMALL = [bytes((number,)) for number in range(128)]


def _varint(number: int) -> bytes:
    if number < 128:
        return _SMALL[number]
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _varint(len(content)) + content


def _text(text: str) -> bytes:
    # A lone surrogate is no UTF-8, and one such value must not cost the whole batch.
    return text.encode("utf-8", "replace")


def _int(number: int) -> bytes:
    if -_INT64 <= number < _INT64:
        return b"\x18" + _varint(number & _UINT64)
    return _string(str(number))


def _string(text: str) -> bytes:
    return _field(b"\x0a", _text(text))


def _value(value: Any, depth: int = 0) -> bytes:
    """Return a value as an `AnyValue`; what OTLP has no form for becomes text."""
    encode = _VALUES.get(value.__class__)
    if encode is not None:
        return encode(value)
    if value is None:
        return b""
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        pairs = (_field(b"\x0a", _pair(str(key), item, depth + 1)) for key, item in value.items())
        return _field(b"\x32", b"".join(pairs))
    if depth < _MAX_DEPTH and isinstance(value, Sequence) and not isinstance(value, str):
        return _field(b"\x2a", b"".join(_field(b"\x0a", _value(item, depth + 1)) for item in value))
    return _string(str(value))


_VALUES: dict[type, Callable[[Any], bytes]] = {
    str: _string,
    bool: lambda value: b"\x10\x01" if value else b"\x10\x00",
    int: _int,
    float: lambda value: _DOUBLE.pack(0x21, value),
    bytes: lambda value: _field(b"\x3a", value),
}


def _pair(key: str, value: Any, depth: int = 0) -> bytes:
    """Return a `KeyValue`."""
    return _field(b"\x0a", _text(key)) + _field(b"\x12", _value(value, depth))


class _Pairs(dict[tuple[str, Any], bytes]):
    """Attributes in their encoded form, those of one type: 1 and True would be one key."""

    def __missing__(self, key: tuple[str, Any]) -> bytes:
        encoded = _field(b"\x4a", _pair(*key))
        if len(encoded) <= _CACHED_LENGTH:
            if len(self) >= _CACHE_SIZE:
                self.clear()
            self[key] = encoded
        return encoded


class _Names(dict[str, bytes]):
    """Names of spans in their encoded form."""

    def __missing__(self, name: str) -> bytes:
        encoded = _field(b"\x2a", _text(name))
        if len(self) >= _CACHE_SIZE:
            self.clear()
        self[name] = encoded
        return encoded


class Encoder:
    """Encodes spans of one resource.

    Args:
        resource: The attributes of who is speaking.

    """

    def __init__(self, resource: Mapping[str, Any]) -> None:
        attributes = b"".join(_field(b"\x0a", _pair(key, value)) for key, value in resource.items())
        self._resource = _field(b"\x0a", attributes)
        self._names = _Names()
        self._pairs: dict[type, _Pairs] = {str: _Pairs(), int: _Pairs(), bool: _Pairs()}

    def request(self, spans: Iterable[RecordedSpan]) -> bytes:
        """Return an `ExportTraceServiceRequest`.

        Args:
            spans: Finished spans.

        """
        scopes: dict[Scope, list[bytes]] = {}
        for span in spans:
            scopes.setdefault(span.scope, []).append(self._span(span))
        groups = [_field(b"\x12", _scope(scope) + b"".join(encoded)) for scope, encoded in scopes.items()]
        return _field(b"\x0a", self._resource + b"".join(groups))

    def _span(self, span: RecordedSpan) -> bytes:
        trace = span.trace
        parent = span.parent
        flags = trace.flags | _HAS_IS_REMOTE | (_IS_REMOTE if span.is_parent_remote and parent else 0)
        parts = [
            b"\x0a\x10",
            bytes.fromhex(trace.trace_id),
            b"\x12\x08",
            bytes.fromhex(trace.span_id),
            b"\x22\x08" + bytes.fromhex(parent.span_id) if parent else b"",
            self._names[span.name],
            _KINDS[span.kind],
            _TIMES.pack(0x39, span.start_time, 0x41, span.end_time),
            _FLAGS.pack(0x85, 0x01, flags),
        ]
        parts += self._attributes(span.attributes)
        if span.events or span.links or trace.state or span.status is not StatusCode.UNSET or span.dropped_attributes:
            parts += self._rest(span)
        content = b"".join(parts)
        return b"\x12" + _varint(len(content)) + content

    def _attributes(self, attributes: Mapping[str, Any]) -> list[bytes]:
        known = self._pairs
        parts = []
        for key, value in attributes.items():
            pairs = known.get(value.__class__)
            parts.append(_field(b"\x4a", _pair(key, value)) if pairs is None else pairs[key, value])
        return parts

    def _rest(self, span: RecordedSpan) -> list[bytes]:
        """Return what few spans have."""
        parts = [_field(b"\x5a", _event(event)) for event in span.events]
        parts += [_field(b"\x6a", _link(link)) for link in span.links]
        if span.trace.state:
            parts.append(_field(b"\x1a", _text(span.trace.state)))
        if span.dropped_attributes:
            parts.append(b"\x50" + _varint(span.dropped_attributes))
        if span.dropped_events:
            parts.append(b"\x60" + _varint(span.dropped_events))
        if span.status is not StatusCode.UNSET:
            message = _field(b"\x12", _text(span.status_message)) if span.status_message else b""
            parts.append(_field(b"\x7a", message + _STATUSES[span.status]))
        return parts


def _scope(scope: Scope) -> bytes:
    name, version = scope
    return _field(b"\x0a", _field(b"\x0a", _text(name)) + (_field(b"\x12", _text(version)) if version else b""))


def _event(event: Event) -> bytes:
    attributes = b"".join(_field(b"\x1a", _pair(key, value)) for key, value in event.attributes.items())
    return _TIME.pack(0x09, event.time) + _field(b"\x12", _text(event.name)) + attributes


def _link(link: Link) -> bytes:
    trace = link.trace
    ids = b"\x0a\x10" + bytes.fromhex(trace.trace_id) + b"\x12\x08" + bytes.fromhex(trace.span_id)
    state = _field(b"\x1a", _text(trace.state)) if trace.state else b""
    flags = _LINK_FLAGS.pack(0x35, trace.flags)
    return ids + state + flags + b"".join(_field(b"\x22", _pair(key, value)) for key, value in link.attributes.items())


def rejected_spans(answer: bytes) -> tuple[int, str]:
    """Return how many spans a collector did not take, and why, from its `ExportTraceServiceResponse`.

    Args:
        answer: The body; one that is none of these counts as empty.

    """
    try:
        partial = _fields(answer).get(1, b"")
        fields = _fields(partial) if isinstance(partial, bytes) else {}
    except (IndexError, ValueError):
        return 0, ""
    count, reason = fields.get(1, 0), fields.get(2, b"")
    return (count if isinstance(count, int) else 0), (
        reason.decode("utf-8", "replace") if reason.__class__ is bytes else ""
    )


def _fields(message: bytes) -> dict[int, int | bytes]:
    """Return the numbers and byte strings of a message by their field's number."""
    fields: dict[int, int | bytes] = {}
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        number, position = _read_varint(message, position)
        if tag & 7 == 2:
            fields[tag >> 3] = message[position : position + number]
            position += number
        elif tag & 7 == 0:
            fields[tag >> 3] = number
        else:
            msg = f"unexpected wire type {tag & 7}; allowed: 0 and 2"
            raise ValueError(msg)
    return fields


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, position
