"""Tasks that were given up: where they go, and the command that lists, replays and purges them."""
