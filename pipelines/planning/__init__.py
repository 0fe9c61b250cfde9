"""`plan`: what a release would do, cost and need, and what it changes. Creates nothing."""
