"""Fetches: weights from a Hub, which is a process of its own, into a bucket that fails. What a Hub does wrong: tests/steps/fetch_weights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from config.schema import Release
from delivery.aws.s3 import S3Uri
from delivery.history.ledger import Ledger
from delivery.weights import manifest
from local_hub.hub import repositories
from steps.fetch_weights import __main__ as fetch
from tests.faults import invariants
from tests.faults.injector import Injection
from tests.faults.scenario import Ended, Scenario, run_step
from tests.support.fake_aws import FakeAws
from tests.support.forked import ROOT
from tests.support.worlds.fetching import BUCKET, ROLE, model_files, release, write_repository

_REPOSITORY = "test/one"
_FILES = model_files([2000, 3000])


class Fetch(Scenario):
    """The first fetch of a model."""

    name = "fetch"
    given: Release

    def prepare(self) -> None:
        """Start a Hub with the model."""
        root = self.folder / "hub"
        write_repository(root, _REPOSITORY, _FILES)
        self.given = release(_REPOSITORY, repositories(root)[_REPOSITORY].snapshot().revision)
        (self.folder / "release.json").write_text(self.given.to_json())
        command = [sys.executable, "-m", "local_hub", "--root", str(root)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        self._address = self._process.stdout.readline().strip().partition("=")[2]

    def close(self) -> None:
        """Stop the Hub."""
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    @property
    def output(self) -> Path:
        """The folder of the step's file."""
        return self.folder / "weights"

    def attack(self, execution: str) -> Ended:
        """Run the step."""
        arguments = ["--release", str(self.folder / "release.json"), "--hub-endpoint", self._address, "--execution", execution]
        with self.aws.acting_as(ROLE), self.injector.calls_of("fetch"):
            return run_step(fetch.main, [*arguments, "--output", str(self.output)], self.folder)

    def after_attack(self, ended: Ended, injection: Injection | None) -> Iterator[str]:
        """What is there is right, and a manifest is there only with everything."""
        yield from invariants.the_cause_is_named(ended, injection)
        yield from self._what_is_wrong()
        if ended.exit_code == 0:
            yield from self.after_all(ended)

    def after_all(self, ended: Ended) -> Iterator[str]:
        """Everything is there, and the ledger says so, once for each execution."""
        if ended.exit_code:
            yield f"the run after it ended with {ended.exit_code}: {ended.message}"
            return
        yield from self._what_is_wrong()
        if manifest.read(self.aws.client("s3"), self._prefix) is None:
            yield "success without a manifest"
        told = [event.by for event in Ledger(self.aws.client("s3"), BUCKET, self.given.name).events() if event.kind == "fetched"]
        if len(set(told)) != len(told) or not told:
            yield f"that it was fetched, the ledger has from {told}"

    @property
    def _prefix(self) -> S3Uri:
        return S3Uri.parse(self.given.weights_prefix)

    def _what_is_wrong(self) -> Iterator[str]:
        stored = _stored(self.aws, self._prefix)
        for path, body in stored.items():
            if path in _FILES and body != _FILES[path]:
                yield f"{path} is not what the Hub has"
        if "manifest.json" in stored and (missing := _FILES.keys() - stored.keys()):
            yield f"a manifest without {sorted(missing)}"


def _stored(aws: FakeAws, prefix: S3Uri) -> dict[str, bytes]:
    s3 = aws.client("s3")
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=prefix.bucket, Prefix=prefix.key)["Contents"]]
    return {key.removeprefix(prefix.key): s3.get_object(Bucket=prefix.bucket, Key=key)["Body"].read() for key in keys}


SCENARIOS = (Fetch,)
