"""The service as a Django project: the same promises over HTTP, under WSGI and under ASGI."""
