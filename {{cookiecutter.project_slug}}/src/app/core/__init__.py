"""Contracts, decisions and names: knows no framework and does no I/O."""
