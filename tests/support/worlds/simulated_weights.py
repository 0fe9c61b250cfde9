"""Weights of a simulated engine, and the manifest that a fetch of them would have written."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from config.schema import Release
from delivery.weights.manifest import Manifest, ManifestFile
from tests.support.fake_aws.s3 import crc64nvme


def simulated_weights(release: Release, engine: dict[str, Any]) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the files, by path, of an engine with these settings."""
    files = {"config.json": b'{"architectures": ["Qwen3ForCausalLM"]}', "simulated.json": json.dumps(engine).encode()}
    listed = [
        ManifestFile(
            path=path,
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            crc64nvme=crc64nvme(body),
            crc64nvme_confirmed_by_s3=True,
        )
        for path, body in files.items()
    ]
    return Manifest.of(release.model.weights, listed), files
