"""What is looked at before anything is created: `doctor`, and the preflight of a release."""
