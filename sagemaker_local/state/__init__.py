"""What survives a restart: records in SQLite, and moto's own state."""
