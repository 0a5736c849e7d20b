"""Uvicorn with one worker, serving one application on a socket that the parent has opened."""

import socket

import uvicorn

from ..apps import build
from . import arguments


def serve(name: str, descriptor: int) -> None:
    """Serve until a signal comes.

    Args:
        name: The application's module.
        descriptor: The listening socket.
    """
    built = build(name)
    config = uvicorn.Config(
        built.app, loop="uvloop", http="httptools", log_config=None, access_log=False, server_header=False
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    serve(**arguments())
