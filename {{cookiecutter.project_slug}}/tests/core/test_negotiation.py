"""What a caller accepts."""

import pytest

from app.core.negotiation import accepts_json, prefers_html

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        ([], True),
        ([""], True),
        (["*/*"], True),
        (["application/*"], True),
        (["APPLICATION/JSON;q=0.5"], True),
        (["text/html, */*;q=0.1"], True),
        (["text/html", "application/json"], True),
        ([BROWSER], True),
        (["application/xml"], False),
        (["application/json;q="], False),
        (["application/json;q=nonsense"], True),
        (["application/json;q=0"], False),
        (["application/json; q = 0.000"], False),
    ],
)
def test_json(values: list[str], accepted: bool) -> None:
    """JSON is taken by whoever names a range that it is in, or nothing."""
    assert accepts_json(values) is accepted


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("Text/HTML;q=0.5", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html;q=0", False),
        ("text/*", False),
        ("application/json, text/html;q=0.5", False),
        ("application/problem+json;q=0.1, text/html", True),
        ("text/html;q=a, x;", True),
    ],
)
def test_html(accept: str, wanted: bool) -> None:
    """HTML is wanted by whoever names it, unless JSON is wanted as much."""
    assert prefers_html(accept) is wanted
