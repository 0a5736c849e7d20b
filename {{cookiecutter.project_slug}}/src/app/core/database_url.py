"""The address of a database, as `DATABASE_URL` has it (https://www.rfc-editor.org/rfc/rfc3986#section-3)."""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

# A driver may be named, as SQLAlchemy writes it; which one is used is the service's own business.
BACKENDS = {
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
}
ALLOWED = "allowed: sqlite:///<path> or postgresql://<user>:<password>@<host>/<database>"
_URL = re.compile(
    r"(?P<scheme>[\w+]+)://"
    r"(?:(?P<user>[^:/@]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:\[(?P<ipv6>[^/?\]]+)\]|(?P<host>[^/:?]*))(?::(?P<port>\d*))?"
    r"(?:/(?P<name>[^?]*))?(?:\?(?P<query>.*))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """Where a database is.

    Attributes:
        backend: `sqlite` or `postgresql`.
        name: The database's name, or the path of its file.
        user: Who connects.
        password: Their password, as text.
        host: The server.
        port: Its port.
        options: What the driver is told besides.

    """

    backend: str
    name: str
    user: str | None = None
    password: str | None = None
    host: str | None = None
    port: int | None = None
    options: tuple[tuple[str, str], ...] = ()


def read_database_url(text: str) -> DatabaseUrl:
    """Return the parts of an address.

    Args:
        text: The address.

    Raises:
        ValueError: It is none, names another kind of database, or one in memory.

    """
    found = _URL.fullmatch(text)
    backend = BACKENDS.get(found["scheme"]) if found else None
    if found is None or backend is None:
        raise ValueError(ALLOWED)
    name = found["name"] or ""
    # In memory each connection would have a database of its own, without tables.
    if backend == "sqlite" and (name in ("", ":memory:") or found["host"]):
        raise ValueError(ALLOWED)
    return DatabaseUrl(
        backend=backend,
        name=name,
        user=_plain(found["user"]),
        password=_plain(found["password"]),
        host=found["ipv6"] or found["host"] or None,
        port=int(found["port"]) if found["port"] else None,
        options=tuple(parse_qsl(found["query"] or "", keep_blank_values=True)),
    )


def _plain(part: str | None) -> str | None:
    return unquote(part) if part is not None else None
