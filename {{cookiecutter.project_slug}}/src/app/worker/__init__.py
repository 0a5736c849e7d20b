"""The Celery worker: tasks that survive a worker's death, and whose effects happen once."""
