"""The service over HTTP, by FastAPI."""
