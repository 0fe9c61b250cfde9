"""What the Hub says of a repository, before anything is created: does it exist, may it be read, can it be served."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from config.weights import Weights
from delivery.aws import s3
from delivery.errors import DeliveryError, InputError, TransientError
from delivery.hub import architectures
from delivery.hub.fetch_settings import MIB, FetchSettings
from delivery.hub.hub_source import FilePart, HubRevision, HubSource
from delivery.hub.range_client import RangeResponse
from delivery.hub.retries import Retries
from delivery.hub.selection import HubFile, Listing, Selection, select

if TYPE_CHECKING:  # as in `list_repository`
    from huggingface_hub.hf_api import RepoFile

PREFLIGHT = FetchSettings(attempts=3, longest_retry_after_s=5.0)
"""For a person who waits at a terminal: a Hub that does not answer is given up after about a second, one that asks to wait at once."""
_LARGEST_DOCUMENT = 64 * MIB
_LIST_TIMEOUT_S = 30.0
_MAX_ENTRIES = 50_000
_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")


def choose_files(
    weights: Weights,
    endpoint: str,
    token: str | None,
    settings: FetchSettings = PREFLIGHT,
    for_sglang: bool = False,
) -> Selection:
    """Choose the files that a fetch of `weights` would move: everything that can be checked before a byte is.

    Args:
        weights: The model file's section.
        endpoint: The Hub's URL.
        token: Its read token; None: anybody may read the repository.
        settings: How often to try, and how long.
        for_sglang: Whether SGLang is to serve them, as in AWS: what it cannot load is refused then.

    Returns:
        The files, and what a reader of the log should know about the choice.

    Raises:
        InputError: The repository or the revision does not exist, is gated without a sufficient token, or cannot be served (see
            `selection.select`).
        DeliveryError: The Hub could not be reached.
    """
    hub = HubRevision(endpoint, weights.repository, weights.revision, token)
    source = HubSource(hub, settings, threading.Event())
    listing = Retries(settings, threading.Event()).call(f"list {hub}", lambda: list_repository(hub))
    documents = {path: _document(source, listing, path) for path in listing.documents}
    selection = select(listing, documents, weights, for_sglang=for_sglang)
    if "remote_code" not in weights.unsafe and (unknown := architectures.warning(selection.architectures)):
        selection.notes.append(unknown)
    if not documents:
        source.check(selection.files[0])  # listing a gated repository is free, reading it is not
    return selection


@dataclass(frozen=True)
class RepositoryFacts:
    """What the Hub says of a repository as a whole."""

    revision: str
    """Its newest commit."""
    license: str
    """As its card names it; empty: it does not."""
    is_gated: bool


def newest(endpoint: str, repository: str, token: str | None) -> RepositoryFacts:
    """Ask for the newest commit of a repository, its licence and whether it is gated.

    Raises:
        InputError: The repository does not exist, or may not be read.
        DeliveryError: The Hub cannot be asked.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # as in `list_repository`
    from huggingface_hub import HfApi  # deferred: 0.5 s
    from huggingface_hub.errors import HfHubHTTPError

    hub = HubRevision(endpoint, repository, "main", token)
    try:
        info = HfApi(endpoint=endpoint, token=token or False).model_info(repository, timeout=_LIST_TIMEOUT_S)
    except HfHubHTTPError as error:
        headers = {name.lower(): value for name, value in error.response.headers.items()}
        raise _refusal(hub, RangeResponse(error.response.status_code, headers, error.server_message or "")) from None
    except Exception as error:  # as in `list_repository`
        raise DeliveryError(
            f"{endpoint} could not be asked: {type(error).__name__}: {error}; check the address and the network"
        ) from error
    if not isinstance(info.sha, str) or not _SHA1.fullmatch(info.sha):
        raise DeliveryError(f"{hub}: the Hub gives no commit; check the Hub's address")
    card: Any = info.card_data or {}
    return RepositoryFacts(info.sha, str(card.get("license") or ""), bool(info.gated))


def list_repository(hub: HubRevision) -> Listing:
    """List every file of the repository at the revision, by the Hub's own client.

    Raises:
        TransientError: It may pass by itself.
        InputError: The repository or the revision does not exist, or may not be read.
        DeliveryError: The answer is no Hub's.
    """
    # Before the import: it asks huggingface.co, whichever Hub this is, for a list.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from huggingface_hub import HfApi  # deferred: 0.5 s, and not before the setting above
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(endpoint=hub.endpoint, token=hub.token or False)
    try:
        # Asked first, since the client repeats listings by itself for half a minute, but not this: a Hub that is not there, and one
        # that refuses, then show at once.
        api.model_info(hub.repository, revision=hub.revision, timeout=_LIST_TIMEOUT_S)
        listed = api.list_repo_tree(hub.repository, recursive=True, revision=hub.revision)
        entries = list(islice(listed, _MAX_ENTRIES + 1))
    except HfHubHTTPError as error:
        headers = {name.lower(): value for name, value in error.response.headers.items()}
        answer = RangeResponse(error.response.status_code, headers, error.server_message or "")
        raise answer.transient_error(hub.endpoint) or _refusal(hub, answer) from None
    except (KeyError, TypeError, ValueError) as error:
        raise DeliveryError(
            f"{hub.endpoint} does not answer as a Hugging Face Hub does ({type(error).__name__}: {error}); check the Hub's address"
        ) from error
    except Exception as error:  # the client's HTTP library has errors of its own, of no common kind
        raise TransientError(f"{hub.endpoint}: {type(error).__name__}: {error}") from error
    if len(entries) > _MAX_ENTRIES:
        raise InputError(
            f"{hub} lists more than {_MAX_ENTRIES:,} files and folders, and a model has some hundreds at most; choose another repository",
            key="weights.repository",
        )
    return Listing(hub.repository, hub.revision, tuple(_hub_file(entry, hub) for entry in entries if isinstance(entry, RepoFile)))


def read_token(secret: str | None, region: str) -> str | None:
    """Read the Hub's token out of Secrets Manager. It is never logged, and an error never holds it.

    Args:
        secret: The secret's name; None when the environment names none.
        region: The AWS region.

    Returns:
        The token; None when there is no such secret.

    Raises:
        InputError: The secret does not hold a token as plain text.
        DeliveryError: Secrets Manager refused.
    """
    if secret is None:
        return None
    import boto3  # deferred: 0.3 s, and the command's --help imports this module

    try:
        text = str(boto3.client("secretsmanager", region_name=region).get_secret_value(SecretId=secret).get("SecretString") or "")
    except (ClientError, BotoCoreError) as error:
        if s3.error_code(error) == "ResourceNotFoundException":
            return None  # public repositories need none; the others say what to do
        raise DeliveryError(
            f"could not read the secret {secret!r} (hub_token_secret): {error}; create it, and let the step's role read it"
        ) from error
    token = text.strip()
    # Of other characters an HTTP library says that they cannot be sent, and shows them with all the rest.
    if not token or len(token.split()) != 1 or token.startswith("{") or not (token.isascii() and token.isprintable()):
        raise InputError(
            f"the secret {secret!r} (hub_token_secret) does not hold a Hugging Face token as plain text, as in hf_…; store just the token"
        )
    return token


def _refusal(hub: HubRevision, answer: RangeResponse) -> DeliveryError:
    code = answer.headers.get("x-error-code")
    if code == "RevisionNotFound":
        return InputError(
            f"{hub.endpoint} has {hub.repository}, but no revision {hub.revision}; copy the full commit from the repository's page under "
            "Files and versions → History",
            key="weights.revision",
        )
    if answer.excerpt == "Invalid credentials in Authorization header":
        return InputError(f"{hub.refusal()} (the Hub does not know this token: it may have been revoked)")
    if code == "RepoNotFound" or answer.status in {401, 404}:  # 401 is what strangers are told of what does not exist
        return InputError(
            f"{hub.endpoint} has no repository {hub.repository} (asked for revision {hub.revision}) that "
            f"{'this token' if hub.token else 'anybody'} may read; check weights.repository and weights.hub; a private one needs "
            "hub_token_secret in the environment file"
        )
    if code == "GatedRepo" or answer.status == 403:
        return InputError(hub.refusal(code))
    return DeliveryError(f"could not list {hub}: the Hub answered {answer.status} {answer.excerpt}")


def _document(source: HubSource, listing: Listing, path: str) -> bytes:
    file = next(f for f in listing.files if f.path == path)
    if file.size > _LARGEST_DOCUMENT:
        raise InputError(
            f"{path} of {listing.repository} at {listing.revision} has {file.size:,} bytes: not a configuration file"
        )
    body = bytearray(file.size)
    source.read(FilePart(file, 1, 0, file.size), memoryview(body))
    return bytes(body)


def _hub_file(entry: RepoFile, hub: HubRevision) -> HubFile:
    """Return a listed file whose every fact has the form that a Hub gives it; what comes from outside is not believed."""
    lfs = entry.lfs
    found = HubFile(entry.path, lfs.size if lfs else entry.size, entry.blob_id, lfs.sha256 if lfs else None, entry.xet_hash)
    wrong = {
        "path": not isinstance(found.path, str),
        "size": type(found.size) is not int or found.size < 0,
        "oid": not (isinstance(found.blob_sha1, str) and _SHA1.fullmatch(found.blob_sha1)),
        "lfs.oid": found.sha256 is not None and not (isinstance(found.sha256, str) and _SHA256.fullmatch(found.sha256)),
        "xetHash": found.xet_hash is not None and not (isinstance(found.xet_hash, str) and _SHA256.fullmatch(found.xet_hash)),
    }
    if names := [name for name, is_wrong in wrong.items() if is_wrong]:
        raise DeliveryError(
            f"{hub} lists {str(found.path)[:200]!a} with a {' and a '.join(names)} that no Hub gives ({found.size!r:.50}, "
            f"{found.blob_sha1!r:.50}, {found.sha256!r:.80}); check the Hub's address"
        )
    return found
