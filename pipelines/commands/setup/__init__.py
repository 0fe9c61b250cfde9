"""The ground that releases stand on: the account (doctor, environment), this machine (local), and `make demo` (demo)."""
