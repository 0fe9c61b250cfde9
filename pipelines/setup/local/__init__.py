"""What runs on this machine in place of AWS and the Hub: only this room reaches `sagemaker_local`, `local_hub` and `container`.

`stack` (both services together: up, running, down) · `service` (one of their processes) · `account` (what infra/ makes in AWS) ·
`image_map` (which command stands for which container image).
"""
