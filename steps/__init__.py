"""What runs inside jobs, one package a step.

Each has `__main__.py` (arguments in, exit code out), `step.py` (the work) and `models.py` (what goes in and out).
"""
