"""What more than one room's tests use: worlds, waiters, fakes."""
