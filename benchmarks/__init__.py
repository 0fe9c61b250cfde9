"""Every performance figure that the project quotes: `python -m benchmarks.NAME` prints it, beside its peers in the same run."""
