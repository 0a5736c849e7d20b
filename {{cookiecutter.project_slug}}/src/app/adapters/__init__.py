"""I/O behind the contracts of `core`; a concern keeps its file name."""
