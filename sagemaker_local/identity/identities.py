"""Who makes a request: an account, and where it is known the role and the job.

Nothing is refused here, but who called is not forgotten either. A container gets temporary credentials of its role, as on AWS: an
access key that is moto's (so that GetCallerIdentity answers ``assumed-role/ROLE/SageMaker``) and a session token that says which role
and which job. Keys that ``sts:AssumeRole`` gave are known too; every other key is the default account's owner.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sagemaker_local.moto_bridge.bridge import DEFAULT_REGION, backends

if TYPE_CHECKING:
    from sagemaker_local.web.request import HttpRequest

ACCESS_KEY_ID = "local"
SECRET_ACCESS_KEY = "local"  # noqa: S105 -- nothing checks it
_SESSION = "SageMaker"  # the session name in the ARN of a role that SageMaker has assumed
_DURATION_S = 43_200


@dataclass(frozen=True)
class Caller:
    """Who makes a request."""

    account_id: str
    role_arn: str | None = None
    """None: the account's owner, as a person or a test is."""
    job: str | None = None
    """The ARN of the job or endpoint whose container it is."""


@dataclass(frozen=True)
class Credentials:
    """What a client signs with."""

    access_key_id: str = ACCESS_KEY_ID
    secret_access_key: str = SECRET_ACCESS_KEY
    session_token: str | None = None

    def environment(self) -> dict[str, str]:
        """As AWS's SDKs read them."""
        token = {"AWS_SESSION_TOKEN": self.session_token} if self.session_token else {}
        return {"AWS_ACCESS_KEY_ID": self.access_key_id, "AWS_SECRET_ACCESS_KEY": self.secret_access_key, **token}


@dataclass
class Identities:
    """The credentials that one server has given."""

    default_account: str
    _keys: dict[tuple[str, str | None], Any] = field(default_factory=dict)
    """moto's access keys by account and role: as many as there are roles, however many jobs."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def credentials(self, account_id: str, role_arn: str | None = None, job: str | None = None) -> Credentials:
        """Return credentials of a role in an account; without a role, of the account's owner."""
        if role_arn is None and account_id == self.default_account:
            return Credentials()
        with self._lock:
            key = self._keys.get((account_id, role_arn))
            if key is None:
                key = self._keys[account_id, role_arn] = _new_key(account_id, role_arn)
        token = json.dumps({"role": role_arn, "job": job}).encode()
        return Credentials(key.access_key_id, key.secret_access_key, base64.urlsafe_b64encode(token).decode())

    def caller(self, access_key_id: str, session_token: str | None = None) -> Caller:
        """Return whose credentials these are."""
        # deferred: moto costs 0.5 s, and reads its settings when it is imported
        from moto.iam.models import get_account_id_from, iam_backends

        account_id = get_account_id_from(access_key_id)
        key = iam_backends[account_id]["aws"].access_keys.get(access_key_id)
        told = _decoded(session_token)
        return Caller(account_id, told.get("role") or getattr(key, "role_arn", None), told.get("job"))

    def caller_of(self, request: HttpRequest) -> Caller:
        """Return who has signed a request."""
        token = request.headers.get("x-amz-security-token") or request.query.get("X-Amz-Security-Token")
        return self.caller(request.access_key_id, token)


def _new_key(account_id: str, role_arn: str | None) -> Any:
    """Return an access key in moto, of a role assumed by SageMaker."""
    # deferred: moto costs 0.5 s, and reads its settings when it is imported
    from moto.sts.models import AssumedRole

    key = backends("iam")[account_id]["aws"].create_temp_access_key()
    if role_arn is not None:
        key.role_arn = role_arn
        role = AssumedRole(account_id, DEFAULT_REGION, key, _SESSION, role_arn, "", _DURATION_S, "")
        backends("sts")[account_id]["aws"].assumed_roles.append(role)
    return key


def _decoded(token: str | None) -> dict[str, Any]:
    """Return what a session token of ours says; nothing for one of moto's, or of somebody else's."""
    try:
        told = json.loads(base64.b64decode(token or "", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
