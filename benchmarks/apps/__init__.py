"""The applications side by side: one module each, whose `build` returns the same two endpoints, wired its own way."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from fastapi import FastAPI


def nothing() -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Built:
    """An application, and what finishes the work that it has put off."""

    app: FastAPI
    flush: Callable[[], object] = nothing


def build(name: str) -> Built:
    """Return a new application.

    Args:
        name: The module's name.
    """
    built: Built = import_module(f"benchmarks.apps.{name}").build()
    return built
