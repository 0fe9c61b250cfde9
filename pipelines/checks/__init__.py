"""What is checked before anything is created: `doctor`, and the preflight of a release."""
