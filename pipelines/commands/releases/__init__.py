"""A model file and its release: written, checked, planned, released, followed; `changed` is what CodeBuild runs. `commits` (git) serves it."""
