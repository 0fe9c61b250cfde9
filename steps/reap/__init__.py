"""Reap: deletes the endpoints, endpoint configs and models that have outlived their run."""
