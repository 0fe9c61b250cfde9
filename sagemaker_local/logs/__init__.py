"""CloudWatch Logs of containers: from their files to the streams that clients read."""
