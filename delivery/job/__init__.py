"""The frame of a SageMaker job: exit codes, progress, the hosts that share one."""
