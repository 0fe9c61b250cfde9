"""A Hugging Face Hub on loopback: folders as repositories, at revisions computed from their content.

It speaks what huggingface_hub needs to list and download models, redirects LFS files to signed addresses at another
host name as the Hub does, and misbehaves on order (`local_hub.faults`). `python -m local_hub` serves, `LocalHub` is the
same in a thread.
"""

from __future__ import annotations

from local_hub.builtin import SMOLLM2_GGUF, SMOLLM2_REPO
from local_hub.faults import Fault
from local_hub.hub import DEFAULT_TOKEN, LocalHub

__all__ = ["DEFAULT_TOKEN", "SMOLLM2_GGUF", "SMOLLM2_REPO", "Fault", "LocalHub"]
