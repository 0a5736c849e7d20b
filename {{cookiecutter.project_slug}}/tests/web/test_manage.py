"""Django's own commands work, and find nothing to complain of."""

import os
import secrets

import pytest

from ..processes import run_python

SECRET = secrets.token_urlsafe(48)
MANAGE = ("-m", "app.web.manage")


def test_checks_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    """`manage.py check --deploy` finds nothing in a production service."""
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.setenv("SECRET_KEY", SECRET)
    ended = run_python(*MANAGE, "check", "--deploy", "--fail-level", "DEBUG")
    assert (ended.returncode, "no issues" in ended.stdout) == (0, True), ended.stdout + ended.stderr


def test_no_migration_is_missing() -> None:
    """What the models say is what the migrations make."""
    ended = run_python(*MANAGE, "makemigrations", "--check", "--dry-run")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_wrong_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting stops a command with the message that it stops the service with."""
    monkeypatch.setenv("PORT", "none")
    ended = run_python(*MANAGE, "check")
    assert ended.returncode == 1
    assert "PORT: received 'none'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names another settings module gets that one."""
    monkeypatch.setitem(os.environ, "DJANGO_SETTINGS_MODULE", "app.web.nowhere")
    ended = run_python(*MANAGE, "check")
    assert ended.returncode != 0
    assert "app.web.nowhere" in ended.stderr
