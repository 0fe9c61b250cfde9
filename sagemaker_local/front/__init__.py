"""The front door: one HTTP port, who makes a request, what it may ask, and which room answers it."""
