"""Servers under test with endpoints on top that only tests have: they fail, stall and forward on demand."""
