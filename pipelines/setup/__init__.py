"""What a release needs around it: an environment file, the two images, and on this machine the services themselves."""
