"""Commands of Django's: `python -m app.web.manage <name>`."""
