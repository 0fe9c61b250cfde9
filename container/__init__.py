"""The serving image and the image that steps run in; what stands in for SGLang where there is no GPU."""
