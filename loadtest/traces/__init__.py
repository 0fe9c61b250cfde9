"""Recorded traces: when a service was asked, how long each prompt and each answer was; read into the schedule of a replay.

Each format is a module here. To add one, write its class beside the others and name it in `reading.FORMATS`: before CSV, which is all that is no
JSON.
"""
