"""Answers that must arrive as they are, and answers that must be refused."""

LONG = "x" * 600

# Legal, however odd: an answer is data in every file that it reaches.
ODD_TEXT = (
    """{{ 7*7 }} "quoted" 'and' \\ back\\slash ''' \"\"\" #% if x %} é ش 🚀 𝔘""",
    "O'Neil & Sons <script>alert(1)</script>",
    "{% for x in range(9) %}x{% endfor %}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cookiecutter.author_name }} svc",
    "{{ lipsum.__globals__['os'].system('touch pwned') }}",
    '"; import os; os.system("touch pwned"); x = "1',
    "{# comment #} {{double}} {single} %s %(x)s $VAR ${VAR:-x} $(id) `id` ${{ secrets.TOKEN }}",
    "#% set x = 1",
    "# heading, # comment 1",
    "- item: [a, b] & *anchor !tag | > @at `x` 1",
    "--- 1",
    "[tool.evil] = 1",
    "trailing backslash 1\\",
    "\\u0041 \\x41 \\N{DASH} 1",
    "a 100% 'half",
    "{% raw %}x{% endraw %}",
    "{{ '{{' }} {{ x",
    "עברית 1 العربية",
    "éclair (NFD) 1",
    "👩‍💻 dev 1",
    " spaces at both ends 1 ",
    "1 * 2 * _3_ ~~4~~ [l](javascript:alert(1)) ![i](x) | a |",
)
PLAIN_TRAPS = (
    "no",
    "off",
    "null",
    "true",
    "2026-01-01",
    "1e3",
    "0x1F",
    "3.10",
    "1_000",
    "12:30:45",
    "~1",
    "<<1",
    "=1",
)

BAD_TEXT = (
    "a\nb", "a\r\nENV X=1", "a\x00b", "a\x1b[31mb", "a\x7fb", "a\x85b", "a\u2028b", "a\u2029b", "a\u202eb", "a\u2066b",
    "a\u200fb", "a\ud800b", "a\tb", LONG,
)  # fmt: skip

GOOD_SLUGS = (
    "a",
    "orders",
    "orders-api",
    "order_service",
    "a1-b2_c3",
    "x" * 63,
    "con-air",
    "jsonx",
    "django-orders",
)
BAD_SLUGS = (
    # No folder's name, or one outside of the output folder.
    "", " ", ".", "..", "../evil", "foo/../../bar", "/tmp/evil", "~root", "C:\\evil", "\\\\srv\\share", "a/b", "a\\b",
    "-rf", "--help", "a:b", "a\x00b", "a\nb", "a ", " a", "a.", "$(id)", "`id`", "a;b", "a|b", "{{ 7*7 }}", "%2e%2e",
    # No label of RFC 1123 and no word of Python.
    "1a", "_a", "-a", "a-", "a_", "a--b", "a__b", "a-_b", "MyService", "my service", "my.service", "orderѕ", "café",
    "ａｂｃ", "🚀", "x" * 64,
    # Taken.
    "class", "match", "type", "lambda", "json", "logging", "secrets", "email", "py-compile", "tomllib",
    "fastapi", "starlette", "pydantic", "django", "redis", "celery", "structlog", "opentelemetry-sdk", "python-dotenv",
    "psycopg_binary", "app", "src", "test", "tests", "scripts", "docs", "build", "dist", "deploy",
    "con", "prn", "aux", "nul", "com1", "lpt9",
)  # fmt: skip

GOOD_EMAILS = (
    "jane@example.com",
    "jane+tag@example.co.uk",
    "o'brien@example.com",
    "a_b-c.d@x-y.example.org",
)
BAD_EMAILS = (
    "", "jane", "jane@", "@example.com", "jane@example", "jane@@example.com", "jane doe@example.com",
    "jane@example.com\nBcc: x@y.z", "jane@example.com, x@y.z", "jane@example.com;x@y.z", "Jane <jane@example.com>",
    ".jane@example.com", "jane.@example.com", "ja..ne@example.com", "jane@-example.com", "jane@example-.com",
    "jane@exa_mple.com", "jane@.com", "jane@example..com", "jane@example.com.", "jane@example.com\u2028",
    '"jane doe"@example.com', "jane@[127.0.0.1]", "{{7*7}}@example.com", "x" * 65 + "@example.com",
    "jane@" + "x" * 64 + ".com", "jané@example.com",
)  # fmt: skip

FREE_TEXT = ("project_name", "description", "author_name")
ACCEPTED: list[dict[str, str]] = [
    *(dict.fromkeys(FREE_TEXT, text) for text in (*ODD_TEXT, *PLAIN_TRAPS, "x" * 100)),
    *({"description": text} for text in ("x" * 512, "? key", "%TAG", "@at", "> fold", "---", "!", "日本")),
    *({"project_slug": slug} for slug in GOOD_SLUGS),
    *({"author_email": email} for email in GOOD_EMAILS),
]
REFUSED = [
    *(("project_name", text) for text in (*BAD_TEXT, "", " ", "日本", "!!!", "x" * 101)),
    *(("author_name", text) for text in (*BAD_TEXT, "", " ")),
    *(("description", text) for text in BAD_TEXT),
    *(("project_slug", slug) for slug in BAD_SLUGS),
    *(("author_email", email) for email in BAD_EMAILS),
    *(("framework", choice) for choice in ("flask", "FastAPI", "fastapi,django", "", "{{ 'fastapi' }}", "../x")),
]
