"""EvaluateStaging: what a version does under load, on an endpoint that exists only for that."""
