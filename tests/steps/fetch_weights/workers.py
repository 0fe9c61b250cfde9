"""The step in processes that are ready at once, with settings that make it quick: a test can kill twenty of them."""

from __future__ import annotations

import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

from delivery.hub.fetch_settings import MIB, FetchSettings
from delivery.job import frame
from delivery.job.host_registry import JobHosts
from steps.fetch_weights import step
from steps.fetch_weights.models import FetchArguments
from tests.support.forked import CONTEXT
from tests.support.worlds import fetching

QUICK = FetchSettings(
    part_bytes=5 * MIB,
    downloads=3,
    uploads=3,
    files_in_flight=2,
    first_pause_s=0.02,
    heartbeat_s=0.2,
    host_silence_s=6,  # a busy machine keeps a live host silent for a second or two
    host_start_s=60,
    hosts_poll_s=0.2,
    progress_interval_s=0.2,
    abandoned_upload_age_s=0.5,
)


def start(release: Path, hub: str, aws: str, folder: Path, execution: str, hosts: JobHosts | None = None) -> BaseProcess:
    """One host of a job; its log is FOLDER/log, its message FOLDER/message."""
    folder.mkdir(parents=True, exist_ok=True)
    process = CONTEXT.Process(target=_run, args=(release, hub, aws, folder, execution, hosts or JobHosts()))
    process.start()
    return process


def _run(release: Path, hub: str, aws: str, folder: Path, execution: str, hosts: JobHosts) -> None:
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(fetching.step_environment(aws))

    def work(_: object) -> None:
        request = FetchArguments(frame.read_release(release), hub, execution, folder / "output", hosts)
        step.run(request, QUICK)

    sys.exit(frame.main(work, ["--message-file", str(folder / "message")]))
