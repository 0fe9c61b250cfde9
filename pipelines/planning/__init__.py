"""`plan`: a dry run of a release: what it would do, cost and need, and what it changes. Creates nothing."""
