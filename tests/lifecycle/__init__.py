"""The life of a version as a state machine: random histories of a model, by two persons, the gate and the events at once, against a specification.

actors          who works, one call to AWS at a time: persons' commands and the steps of executions
world           an account, a model, and what may be done to it; the code that works is the project's own
specification   what may happen, told from the ledger alone; it shares no code with the project
machine         Hypothesis draws the histories
seeded_bugs     mistakes put back one at a time: the machine must find each of them
"""
