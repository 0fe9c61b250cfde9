"""One request: how it is sent, and how its answer is read token by token."""
