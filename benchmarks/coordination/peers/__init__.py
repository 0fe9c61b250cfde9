"""The same two things, start together and find a lost host, done with public engines; each in an environment of its own."""
