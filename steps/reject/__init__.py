"""Reject: mark a version that the gate refused, with the reason."""
