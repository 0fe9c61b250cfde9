"""moto in this process: its backends, its actions without HTTP, and what of it is refused by name."""
