"""What runs inside jobs, one package a step: `__main__.py` (arguments in, exit code out), `step.py` (the work), `models.py` (what goes in and out)."""
