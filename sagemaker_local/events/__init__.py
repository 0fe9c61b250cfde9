"""EventBridge: what SageMaker announces, and rules that reach their targets."""
