"""Every limit of a fetch, by name."""

from __future__ import annotations

import os
from dataclasses import dataclass

MIB = 1024**2
GIB = 1024**3

MAX_PARTS = 10_000
"""S3: parts of one multipart upload."""
MIN_PART_BYTES = 5 * MIB
"""S3: every part but the last."""
MAX_PART_BYTES = 5 * GIB
"""S3: one part."""
MAX_OBJECT_BYTES = MAX_PARTS * MAX_PART_BYTES
"""S3: one object, 48.8 TiB ("Amazon S3 multipart upload limits", S3 user guide). Larger files are refused."""


@dataclass(frozen=True)
class FetchSettings:
    """How much of everything. The defaults suit an ml.m5.4xlarge (16 cores, 10 Gbit/s)."""

    memory_bytes: int = 512 * MIB
    """How many bytes of weights may be in memory at a time."""
    part_bytes: int = 8 * MIB
    """The preferred size of a part; larger only where a file would need more than 10,000."""
    small_file_bytes: int = MIB
    """Files up to this size go in one PutObject, larger ones in parts."""
    downloads: int = 8
    """Ranges in flight from the Hub."""
    uploads: int = 8
    """Parts in flight to S3."""
    waiting_parts: int = 4
    """How many parts may be in memory without a worker, so that neither leg waits for the other; more only fills memory."""
    hashers: int = max(1, min(8, os.cpu_count() or 1))
    """Threads that compute digests. One file's digest is one thread's work at a time (about 0.8 GB/s a core)."""
    files_in_flight: int = 4
    """How many files are open at a time; more lets more cores hash, fewer loses less when the host dies."""
    attempts: int = 12
    """How often one range, one question to the Hub or one call to S3 is tried: over two to four minutes, with the pauses below. An outage of
    a minute must not end a fetch of hours."""
    first_pause_s: float = 0.5
    """The pause after the first failed try; it doubles each time, with jitter."""
    longest_pause_s: float = 30.0
    """No pause of our own choosing is longer."""
    longest_retry_after_s: float = 360.0
    """A server that asks to wait longer is not waited for: the step fails and says so. The Hub's quotas are of five minutes."""
    connect_timeout_s: float = 10.0
    """How long a connection may take to be made."""
    read_timeout_s: float = 60.0
    """How long a connection may be silent."""
    abandoned_upload_age_s: float = 6 * 3600
    """A multipart upload under the prefix older than this was abandoned by a host that died, and is aborted."""
    heartbeat_s: float = 10.0
    """How often a host says that it lives, when several share a fetch."""
    host_silence_s: float = 60.0
    """A host that has said nothing for so long is dead."""
    host_start_s: float = 600.0
    """How much later than this one another host may start."""
    hosts_poll_s: float = 5.0
    """How often a host that is done looks for the others' files."""
    stop_grace_s: float = 5.0
    """How long workers may take to notice that the fetch has failed."""
    progress_interval_s: float = 1.0
    """How often progress is said."""
