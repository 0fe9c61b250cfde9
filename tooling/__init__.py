"""What `make` runs on this repository itself: install, lock, wheels, mutants. Imported by nothing that is delivered."""
