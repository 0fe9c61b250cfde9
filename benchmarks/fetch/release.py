"""The release that ours is given."""

from __future__ import annotations

from pathlib import Path

from config.schema import Release

BUCKET = "bench-weights"
_ROLE = "arn:aws:iam::123456789012:role/bench"
_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/bench:local"


def write_release(path: Path, repository: str, revision: str) -> None:
    """Write a release.json of that repository, everything about the fetch at its default."""
    objectives = {"error_rate": {"at_most": 0}}
    profile = {
        "kind": "closed_loop",
        "concurrency": 1,
        "prompt_tokens": 8,
        "output_tokens": 8,
        "duration_s": 1,
        "objectives": objectives,
    }
    release = Release.model_validate(
        {
            "name": "bench",
            "model": {
                "weights": {"hub": "local", "repository": repository, "revision": revision},
                "serving": {"instance_type": "ml.g6.xlarge", "tensor_parallel_size": 1},
                "evaluation": {"load_profiles": {"chat": profile}},
                "production": {"endpoint": "bench"},
            },
            "environment": {
                "kind": "local",
                "region": "us-east-1",
                "account_id": "123456789012",
                "bucket": BUCKET,
                "roles": dict.fromkeys(["pipeline", "fetch", "evaluate", "promote", "serve"], _ROLE),
                "images": {"steps": _IMAGE, "serving": _IMAGE},
            },
            "serving_image": _IMAGE,
        }
    )
    path.write_text(release.to_json(), encoding="utf-8")
