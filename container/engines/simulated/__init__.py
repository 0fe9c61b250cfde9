"""A server with SGLang's surface and latencies on order: the known truth that load tests are tested against."""
