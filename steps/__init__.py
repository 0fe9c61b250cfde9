"""The step packages, one a SageMaker job: `python -m steps.NAME`.

Each has `__main__.py` (arguments in, exit code out), `step.py` (the work) and `models.py` (what goes in and out). A release comes by them
in this order: `fetch_weights`, `evaluate_staging`, then `promote`, or `reject`; a person's approval by `verify_approval` and `promote`;
every hour by `reap`. No step imports another; what they share is in `delivery`.
"""
