"""A way to a server that counts round trips, and that a test can block or cut."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PATIENCE = 30


class Proxy:
    """Hands on bytes between clients and a server, in a thread of its own.

    Args:
        host: The server's.
        port: The server's.

    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket] = {}
        self._clients: set[socket.socket] = set()
        self._asked: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._ended = False
        self.round_trips = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def hang(self) -> None:
        """Take everything and answer nothing, new connections included, as a stopped server does."""
        self._flowing.clear()

    def go_on(self) -> None:
        """Hand on again, also what was held back."""
        self._flowing.set()

    def cut(self) -> None:
        """Close all connections; new ones are taken."""
        for one in list(self._clients):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End."""
        # First: as soon as it ends, the thread closes the waker too.
        self._waker.send(b"x")
        self._ended = True
        self._flowing.set()
        self._thread.join(PATIENCE)

    def _run(self) -> None:
        try:
            while not self._ended:
                for key, _ in self._selector.select():
                    self._flowing.wait(PATIENCE)
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._peers:
                        self._hand_on(key.fileobj)
        finally:
            for one in (*self._peers, self._listener, self._waker, self._woken):
                one.close()
            self._selector.close()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(self._server)
        self._clients.add(client)
        for one, other in ((client, server), (server, client)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _hand_on(self, one: socket.socket) -> None:
        other = self._peers[one]
        try:
            data = one.recv(65536)
            if data:
                self._count(one, other)
                other.sendall(data)
                return
        except OSError:
            pass
        for end in (one, other):
            self._selector.unregister(end)
            del self._peers[end]
            self._clients.discard(end)
            self._asked.discard(end)
            end.close()

    def _count(self, one: socket.socket, other: socket.socket) -> None:
        """Count what a client says after the server spoke; what comes in several pieces is one."""
        if one in self._clients:
            self.round_trips += one not in self._asked
            self._asked.add(one)
        else:
            self._asked.discard(other)


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    """Return a running proxy.

    Args:
        host: The server's.
        port: The server's.

    """
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
