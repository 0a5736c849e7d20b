"""What the emitted project costs, side by side with bare frameworks and with its peers: `python benchmarks/run.py`."""
