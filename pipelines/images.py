"""Which image URI the word in `serving.image` stands for."""

from __future__ import annotations

from config.environment import Environment
from config.serving import Serving

SGLANG_VERSION = "0.5.20"
"""The SGLang that container/Dockerfile pins; AWS's own image is taken at the same version."""


def serving_image(serving: Serving, environment: Environment) -> str:
    """`project` → the environment's own image, `aws` → AWS's SGLang image for SageMaker, anything else is a URI already."""
    if serving.image == "project":
        return environment.images.serving
    if serving.image == "aws":
        from sagemaker.core import image_uris  # here: importing it takes seconds

        uri: str = image_uris.retrieve(
            "sglang",
            environment.region,
            version=SGLANG_VERSION,
            instance_type=serving.instance_type,
            image_scope="inference",
        )
        return uri
    return serving.image
