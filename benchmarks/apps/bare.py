"""FastAPI as it comes."""

from fastapi import FastAPI

from . import Built
from .endpoints import add_endpoints


def build() -> Built:
    """Return an application without any wiring."""
    return Built(add_endpoints(FastAPI()))
