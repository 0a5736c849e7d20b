"""What serves the service over HTTP, whatever framework answers: its server, its processes, and how they stop."""
