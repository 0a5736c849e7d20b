"""PostgreSQL, as the service uses it. Django looks for what is in `base`."""
