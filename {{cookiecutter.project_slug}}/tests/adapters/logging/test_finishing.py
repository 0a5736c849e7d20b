"""Lines are redacted and formatted, and one that cannot be takes no other with it."""

import pytest

from app.adapters.logging.finishing import finisher

EMAIL = "@".join(["ada", "example.com"])


def line(event: str) -> bytes:
    """Return a line of JSON."""
    return b'{"level":"info","logger":"app","event":"%b"}\n' % event.encode()


def test_lines_are_redacted() -> None:
    """A line that holds a secret is redacted, the others of its batch stay as they are."""
    assert finisher("json")([line("a"), line(EMAIL)]) == [line("a"), line("[redacted]")]


def test_line_that_cannot_be_finished(capsys: pytest.CaptureFixture[str]) -> None:
    """A line that cannot be redacted or formatted is left out, and whose it was is said, but not what it said."""
    broken = b'{"level":"info","logger":"app.broken","event":"hidden' + EMAIL.encode() + b'"}}\n'
    assert finisher("json")([line("a"), broken, line("b")]) == [line("a"), line("b")]
    assert capsys.readouterr().err == "a log line of 'unknown' was lost\n"


def test_renderer_that_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a line that can be read the logger's name is said."""

    def fails(*_arguments: object, **_fields: object) -> str:
        raise RuntimeError

    monkeypatch.setattr("app.core.logging.rendering.to_json", fails)
    assert finisher("logfmt")([b'{"logger":"app.x","event":[]}\n']) == []
    assert capsys.readouterr().err == "a log line of 'app.x' was lost\n"


@pytest.mark.parametrize(
    ("log_format", "begins"), [("json", '{"level":'), ("logfmt", "level=info logger=app "), ("console", "[info")]
)
def test_formats(log_format: str, begins: str) -> None:
    """A line comes out in the format that is wanted."""
    (finished,) = finisher(log_format)([line("a")])
    assert finished.decode().startswith(begins)
    assert finished.endswith(b"\n")


def test_colours() -> None:
    """Colours are for a console that shows them, and only there."""
    assert b"\x1b[" in finisher("console", in_colour=True)([line("a")])[0]
    assert b"\x1b[" not in finisher("console")([line("a")])[0]
    assert b"\x1b[" not in finisher("logfmt", in_colour=True)([line("a")])[0]
