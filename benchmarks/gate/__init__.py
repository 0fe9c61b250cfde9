"""`python -m benchmarks.gate`: how often the gate's confidence intervals hold the truth, on an engine whose truth is known."""
