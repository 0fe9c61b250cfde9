"""The production endpoint: what it is, how it changes, its alarms and its autoscaling. The phases of a promotion call it."""
