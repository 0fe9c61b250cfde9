"""What a server says of itself while a load is on: its Prometheus gauges, sampled beside the client's numbers."""
