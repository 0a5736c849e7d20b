"""What callers see of liveness and readiness, as models for the OpenAPI document."""

from pydantic import BaseModel

from .health import Status


class LiveView(BaseModel):
    """The process serves."""

    status: Status


class CheckView(BaseModel):
    """What a check found, how long it took in seconds, and whether the service can not do without it."""

    name: str
    status: Status
    duration: float
    required: bool


class ReadyView(BaseModel):
    """Whether the service may receive work."""

    status: Status
    checks: list[CheckView]
