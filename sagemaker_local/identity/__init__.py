"""Who makes a request: credentials, callers, and the audit log of calls."""
