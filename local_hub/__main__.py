"""`python -m local_hub [--port P] [--root DIR] [--list]`: serve a Hub until a signal, or say what it has."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from local_hub.errors import LocalHubError
from local_hub.hub import DEFAULT_TOKEN, LocalHub, repositories


def main(words: list[str] | None = None) -> int:
    """Return the command. Prints `HF_ENDPOINT=http://localhost:PORT` when it serves; `--list` prints id, revision and size."""
    parser = argparse.ArgumentParser(prog="python -m local_hub", description="A Hugging Face Hub on loopback.")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (0, the default: any free one)")
    parser.add_argument("--root", type=Path, help="folder of repositories, ROOT/ORG/NAME/")
    parser.add_argument("--list", action="store_true", help="print every repository's id, revision and bytes, and stop")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"holds the token that opens gated repositories (default: {DEFAULT_TOKEN})",
    )
    parser.add_argument(
        "--ignore-unknown-tokens",
        action="store_true",
        help="take a token that is another Hub's for none; without it, it is refused, as huggingface.co does",
    )
    parser.add_argument("--rate", type=float, metavar="BYTES_PER_S", help="cap all transfers together")
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="a name that clients call it by, besides loopback's"
    )
    options = parser.parse_args(words)
    os.umask(0o077)  # what it writes names files of private repositories
    try:
        if options.list:
            for identifier, repository in repositories(options.root).items():
                snapshot = repository.snapshot()
                print(identifier, snapshot.revision, sum(file.size for file in snapshot.files.values()))
            return 0
        hub = LocalHub(
            options.root,
            port=options.port,
            tokens=[options.token_file.read_text().strip() if options.token_file else DEFAULT_TOKEN],
            rate_bytes_per_s=options.rate,
            allowed_hosts=options.allowed_host,
            ignores_unknown_tokens=options.ignore_unknown_tokens,
        )
    except (LocalHubError, OSError) as error:
        sys.stderr.write(f"local_hub: {error}\n")
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        # From another thread: shutdown waits for the loop that this one runs.
        signal.signal(number, lambda *_: threading.Thread(target=hub.shutdown).start())
    print(f"HF_ENDPOINT={hub.endpoint}", flush=True)
    hub.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
