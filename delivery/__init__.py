"""The domain that the steps and the command share: versions and what happened to them, endpoints, weights, the frame of a job."""
