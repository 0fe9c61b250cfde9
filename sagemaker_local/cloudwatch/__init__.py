"""CloudWatch: alarms that follow their metric, and how long metrics are kept."""
