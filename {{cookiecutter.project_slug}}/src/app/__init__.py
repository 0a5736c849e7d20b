"""The service: `core` decides, `adapters` do the I/O, `orders` is the example domain."""
