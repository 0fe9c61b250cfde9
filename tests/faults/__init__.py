"""Every call that a release makes, failed in every way: `python -m tests.faults`, `make faults`.

A scenario is an account and one thing that somebody does to it (promote a version, roll back, evaluate, reap). It is done once to record its
calls; the plan is every call by every fault by when; each case does the same again with that one fault, looks at what is promised even
then (`invariants`), lets somebody do it again without the fault, and looks whether all is well.

    scenarios/   what is done, and what must hold after it
    kinds        the faults: what AWS, a network or a proxy between does to a call
    calls        the names of calls
    injector     the layer that records calls and fails one of them
    plan         the cases
    runner       does them, each in a process of its own, forked from one in which the scenario is prepared
    report       the table, and of each loss the command that shows it again
"""
