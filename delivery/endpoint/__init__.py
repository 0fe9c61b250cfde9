"""A SageMaker endpoint: what it deploys, how it is changed, its prompt checks, the lease that says who may change it."""
