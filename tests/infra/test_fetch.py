"""FetchWeights in its role: what it cleans up is within its policy, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from config.schema import Release
from local_hub.hub import DEFAULT_TOKEN
from sagemaker_local.testing import running
from tests.infra.audit import calls_of, every_call_is_allowed
from tests.support.codebuild import hub

ROOT = Path(__file__).parents[2]


def test_a_fetch_with_a_token_after_one_that_was_killed(tmp_path: Path) -> None:
    environment = yaml.safe_load((ROOT / "config/environments/local.yaml").read_text())
    with running(tmp_path / "state") as server, hub(tmp_path / "hub") as (hub_url, revision):
        release = Release.model_validate(
            {
                "name": "tiny",
                "model": {
                    "weights": {"hub": "local", "repository": "test/tiny", "revision": revision},
                    "serving": {"instance_type": "ml.p5.48xlarge", "tensor_parallel_size": 8},
                    "evaluation": {
                        "load_profiles": {
                            "short": {
                                "kind": "closed_loop",
                                "concurrency": 1,
                                "duration_s": 1,
                                "objectives": {"error_rate": {"at_most": 0}},
                            }
                        }
                    },
                    "production": {"endpoint": "tiny"},
                },
                "environment": environment,
                "serving_image": "s:1",
            }
        )
        file = tmp_path / "release.json"
        file.write_text(release.to_json())
        s3 = server.client("s3")
        s3.create_bucket(Bucket="release-local")
        server.client("secretsmanager").create_secret(Name=environment["hub_token_secret"], SecretString=DEFAULT_TOKEN)
        key = release.weights_prefix.removeprefix("s3://release-local/") + "model.safetensors"
        s3.create_multipart_upload(Bucket="release-local", Key=key)
        command = [sys.executable, "-m", "steps.fetch_weights", "--release", str(file), "--hub-endpoint", hub_url]
        role = server.environment(environment["roles"]["fetch"])
        done = subprocess.run(
            [*command, "--output", str(tmp_path / "output")],
            cwd=ROOT,
            env={**os.environ, **role},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert (tmp_path / "output" / "weights.json").exists()
        assert "Uploads" not in s3.list_multipart_uploads(Bucket="release-local")
    every_call_is_allowed(calls_of(tmp_path / "state"), "release-local")
