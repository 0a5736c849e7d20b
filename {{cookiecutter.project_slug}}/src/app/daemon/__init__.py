"""The asyncio daemon: messages and periodic jobs, under supervision."""
