"""The processes that stand for containers, which end with the server."""
