"""Commands of Django's."""
