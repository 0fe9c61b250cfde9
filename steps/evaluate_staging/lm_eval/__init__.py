"""lm-eval against the staging endpoint: its tasks, their scores, and the process that it runs in."""
