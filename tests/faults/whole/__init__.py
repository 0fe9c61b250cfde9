"""The same with whole processes: a release on this machine, its steps processes of their own, and a layer before `sagemaker_local`.

Minutes where the fakes take seconds: a sample of the cases is drawn (`--whole N`), another with another `--seed`.
"""
