"""For Celery's own command: `celery -A app.worker.celery call orders.fulfil --args '["…"]'`."""

from ..adapters.logging import configure_logging
from .application import create_app
from .bootstrap import load_worker_settings

settings = load_worker_settings()
configure_logging(settings)
app = create_app(settings)
