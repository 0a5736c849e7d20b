"""The settings that only a Django service has; `app.settings` has all others."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ..settings import ON_WINDOWS, Settings
from ..settings_groups import Group


class WebSettings(Group):
    """How Django is served, and to whom.

    Attributes:
        server: gunicorn with threads (WSGI), gunicorn's own ASGI worker, or uvicorn (ASGI), alone on Windows.
        threads: How many requests one process of `gthread` handles at once.
        allowed_hosts: Names that a request may call the service by.
        ssl_redirect: Whether plain HTTP is sent to HTTPS; most often the proxy in front does that.
        debug: Whether errors are shown with everything there is to know about them.

    """

    server: Literal["gthread", "asgi", "uvicorn"] = "uvicorn" if ON_WINDOWS else "gthread"
    threads: Annotated[int, Field(ge=1, le=256)] = 8
    allowed_hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    ssl_redirect: bool = False
    debug: bool = False


class DjangoSettings(Settings):
    """Everything that may differ between two deployments of this service."""

    web: WebSettings = WebSettings()

    @model_validator(mode="after")
    def _no_debug_in_production(self) -> Self:
        if self.web.debug and self.environment == "production":
            msg = "WEB__DEBUG: received true; allowed in production: false, for its pages show settings and code"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _server_of_this_system(self) -> Self:
        if ON_WINDOWS and self.web.server != "uvicorn":
            msg = f"WEB__SERVER: received {self.web.server!r}; allowed on Windows, where there is no gunicorn: uvicorn"
            raise ValueError(msg)
        return self
