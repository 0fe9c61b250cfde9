"""Stands before great_expectations on PYTHONPATH: not installed, for processes whose suite is not what a test is about (it takes 4 s)."""

raise ImportError("great_expectations is hidden from this process: see tests/support/hidden")
