"""What happened to a model's versions: the ledger, decisions, what production served, where a rollback returns to."""
