"""Speed against other libraries, side by side: `python -m benchmarks --help`."""
