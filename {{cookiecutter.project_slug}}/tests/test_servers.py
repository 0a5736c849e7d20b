"""Servers of a test's own come back with what they kept."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from .servers import Server, private_postgresql, private_redis


def redis(server: Server, command: str) -> str:
    """Return what Redis answers."""
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=10) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(1024).decode()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_redis(tmp_path: Path, end: str) -> None:
    """Redis is gone between its end and its start, and has what it wrote to its file."""
    with private_redis(tmp_path) as server:
        redis(server, "CONFIG SET appendfsync always")
        redis(server, "SET a 1")
        getattr(server, end)()
        with pytest.raises(ConnectionRefusedError):
            redis(server, "PING")
        server.start()
        assert redis(server, "GET a") == "$1\r\n1\r\n"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_postgresql(end: str) -> None:
    """So is PostgreSQL, and has what was committed."""
    with private_postgresql() as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
        getattr(server, end)()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT a FROM kept").fetchone() == (1,)
