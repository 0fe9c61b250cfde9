"""What the Hub says of a repository, before anything is created: does it exist, may it be read, can it be served.

The listing goes through huggingface_hub, the Hub's own client; the bytes do not (see `source`).
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from config.schema import Weights
from steps import s3
from steps.errors import InputError, StepError
from steps.fetch_weights.plan import Part
from steps.fetch_weights.selection import HubFile, Listing, Selection, select
from steps.fetch_weights.settings import MIB, Settings
from steps.fetch_weights.source import HubSource, refusal

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

_LARGEST_DOCUMENT = 64 * MIB


def choose_files(weights: Weights, endpoint: str, token: str | None, settings: Settings | None = None) -> Selection:
    """The files that a fetch of `weights` would move: everything that can be checked before a byte is.

    `endpoint` is the Hub's URL, `token` its read token or None. InputError when the repository or revision does not exist, is gated
    without a sufficient token, or cannot be served (see `selection.select`); StepError when the Hub cannot be reached.
    """
    settings = settings or Settings()
    listing = list_repository(weights, endpoint, token)
    source = HubSource(endpoint, weights.repository, weights.revision, token, settings, threading.Event())
    documents = {path: _document(source, listing, path) for path in listing.documents}
    selection = select(listing, documents, weights)
    if not documents:
        source.check(selection.files[0])  # listing a gated repository is free, reading it is not
    return selection


def list_repository(weights: Weights, endpoint: str, token: str | None) -> Listing:
    """Every file of the repository at the revision. Errors as in `choose_files`."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.hf_api import RepoFile

    repository, revision = weights.repository, weights.revision
    what = f"{repository} at {revision} on {endpoint}"
    try:
        entries = list(
            HfApi(endpoint=endpoint, token=token or False).list_repo_tree(
                repository, recursive=True, revision=revision, expand=False
            )
        )
    except RevisionNotFoundError as error:
        raise InputError(
            f"{endpoint} has {repository}, but no revision {revision}; copy the full commit from the repository's page under Files and "
            "versions → History"
        ) from error
    except GatedRepoError as error:
        raise InputError(refusal(repository, revision, endpoint, token, "GatedRepo")) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{endpoint} has no repository {repository} (asked for revision {revision}) that {'this token' if token else 'anybody'} may read; "
            "check weights.repository and weights.hub; a private one needs hub_token_secret in the environment file"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        if status in {401, 403}:
            raise InputError(refusal(repository, revision, endpoint, token, None)) from error
        raise StepError(f"could not list {what}: the Hub answered {status}: {error}; try again later") from error
    except Exception as error:
        raise StepError(
            f"could not reach the Hub at {endpoint} to list {repository} at {revision}: {type(error).__name__}: {error}; check the address "
            "and the network (a VPC without internet access needs a NAT gateway)"
        ) from error
    return Listing(repository, revision, tuple(_hub_file(e) for e in entries if isinstance(e, RepoFile)))


def read_token(secret: str | None, region: str) -> str | None:
    """The Hub's token out of Secrets Manager; None when the environment names no secret or that secret does not exist.

    It is never logged, and an error never holds it.
    """
    if secret is None:
        return None
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        text = str(boto3.client("secretsmanager", region_name=region).get_secret_value(SecretId=secret).get("SecretString") or "")
    except (ClientError, BotoCoreError) as error:
        if s3.error_code(error) == "ResourceNotFoundException":
            return None  # public repositories need none; the others say what to do
        raise StepError(
            f"could not read the secret {secret!r} (hub_token_secret): {error}; create it, and let the step's role read it"
        ) from error
    token = text.strip()
    if not token or len(token.split()) != 1 or token.startswith("{"):
        raise InputError(
            f"the secret {secret!r} (hub_token_secret) does not hold a Hugging Face token as plain text, as in hf_…; store just the token"
        )
    return token


def _document(source: HubSource, listing: Listing, path: str) -> bytes:
    file = next(f for f in listing.files if f.path == path)
    if file.size > _LARGEST_DOCUMENT:
        raise InputError(
            f"{path} of {listing.repository} at {listing.revision} has {file.size:,} bytes: not a configuration file"
        )
    body = bytearray(file.size)
    source.read(Part(file, 1, 0, file.size), memoryview(body))
    return bytes(body)


def _hub_file(entry: RepoFile) -> HubFile:
    lfs = entry.lfs
    return HubFile(entry.path, lfs.size if lfs else entry.size, entry.blob_id, lfs.sha256 if lfs else None, entry.xet_hash)
