"""Script mode: what an image with AWS's training toolkit does, for images that the images file maps to this module.

It imports nothing of this package, since it runs where a container would: as ``{python} -m sagemaker_local.jobs.training.script``,
or by its path where the package is not installed. It reads ``sagemaker_program`` and ``sagemaker_submit_directory`` from the
job's hyperparameters, fetches and unpacks the code, and runs the program with the other hyperparameters as options and the
``SM_…`` variables that scripts read.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

_OWN_PREFIX = "sagemaker_"


def main() -> int:
    """Run the job's program; returns its exit code."""
    base = Path(os.environ["SAGEMAKER_BASE_DIR"])
    config = base / "input" / "config"
    hyperparameters = {name: _decoded(text) for name, text in json.loads((config / "hyperparameters.json").read_text()).items()}
    program = hyperparameters.get("sagemaker_program") or os.environ.get("SAGEMAKER_PROGRAM")
    if not program:
        sys.stderr.write("sagemaker_program is missing: script mode needs the hyperparameter or the variable SAGEMAKER_PROGRAM\n")
        return 2
    code = base / "code"
    submitted = hyperparameters.get("sagemaker_submit_directory") or os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY")
    if submitted:
        _unpack(str(submitted), code)
    options = {name: value for name, value in hyperparameters.items() if not name.startswith(_OWN_PREFIX)}
    words = [word for name, value in sorted(options.items()) for word in (f"--{name}", _text(value))]
    environment = {**os.environ, **_variables(base, config, options), "PYTHONPATH": str(code)}
    return subprocess.run([sys.executable, str(program), *words], cwd=code, env=environment, check=False).returncode


def _variables(base: Path, config: Path, options: dict[str, Any]) -> dict[str, str]:
    resources = json.loads((config / "resourceconfig.json").read_text())
    channels = json.loads((config / "inputdataconfig.json").read_text())
    variables = {
        "SM_MODEL_DIR": str(base / "model"),
        "SM_OUTPUT_DATA_DIR": str(base / "output" / "data"),
        "SM_OUTPUT_DIR": str(base / "output"),
        "SM_INPUT_DIR": str(base / "input"),
        "SM_HOSTS": json.dumps(resources["hosts"]),
        "SM_CURRENT_HOST": resources["current_host"],
        "SM_CHANNELS": json.dumps(sorted(channels)),
        "SM_NUM_GPUS": "0",
        "SM_NUM_CPUS": str(os.cpu_count() or 1),
        "SM_HPS": json.dumps(options),
    }
    variables |= {f"SM_CHANNEL_{name.upper()}": str(base / "input" / "data" / name) for name in channels}
    return variables | {f"SM_HP_{name.upper().replace('-', '_')}": _text(value) for name, value in options.items()}


def _unpack(address: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    if address.startswith("s3://"):
        import boto3  # optional: a container whose code is a folder needs none

        bucket, _, key = address.removeprefix("s3://").partition("/")
        parcel = target / "sourcedir.tar.gz"
        boto3.client("s3").download_file(bucket, key, str(parcel))
        with tarfile.open(parcel) as archive:
            archive.extractall(target, filter="data")
    else:
        shutil.copytree(address, target, dirs_exist_ok=True)


def _decoded(text: str) -> Any:
    """Return the SDK writes hyperparameters as JSON; others write plain text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


if __name__ == "__main__":
    sys.exit(main())
