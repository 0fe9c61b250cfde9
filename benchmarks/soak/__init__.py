"""Many releases on one stack of this machine: does anything grow that should not?

stack   releases on the simulated engine, one after the other and many at once
usage   what the stack uses: memory, open files, processes, temporary files, calls
"""
