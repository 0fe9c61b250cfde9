"""What runs inside jobs, one package a step.

Each has `__main__.py` (arguments in, exit code out), `step.py` (the work) and `models.py` (what goes in and out). A release comes by them in
this order: `fetch_weights`, `evaluate_staging`, then `promote`, or `reject`; a person's approval by `verify_approval` and `promote`; every
hour by `reap`. No step imports another; what several need is in the modules beside them:

- every step: `job` (the frame: exit codes, SIGTERM, messages), `errors`, `names`, `terminal`
- AWS as steps use it: `aws`, `s3`, `accounts`, `registry`, `images`
- an endpoint: `deployment` (what is to be served, as requests), `hosting` (making, changing, deleting it), `alarms`, `autoscaling`, `canaries`
- what happened to versions: `ledger`, `decisions` (approved, rejected), `served` (what production served), `returning` (a rollback's version)
- weights in S3: `manifest` (what a finished prefix holds), `stored_weights` (whether it still does)
- before production is touched: `verification`, `lease`
- several instances of one job: `hosts`
"""
