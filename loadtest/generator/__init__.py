"""The load: what is asked, when, and by which client processes."""
