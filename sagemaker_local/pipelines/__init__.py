"""SageMaker Pipelines: definitions are parsed, checked and really run, one thread and usually one process a running step."""
