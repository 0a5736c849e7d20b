"""The service as a Django application: its own tables and signals."""

from django.apps import AppConfig
from django.core.signals import got_request_exception
from django.db.backends.signals import connection_created


class ServiceConfig(AppConfig):
    """What Django knows of the service."""

    name = "app.web"
    label = "service"
    verbose_name = "Service"

    def ready(self) -> None:
        """Hear of every error that Django makes a page of, and have each connection measured."""
        # Not at the top: they ask Django's settings and models, and applications are found before those are there.
        from .errors import note_unhandled
        from .statements import watch_statements

        got_request_exception.connect(note_unhandled, dispatch_uid="app.web.errors")
        connection_created.connect(watch_statements, dispatch_uid="app.web.statements")
