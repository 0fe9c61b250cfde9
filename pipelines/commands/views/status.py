"""`status`: one model in full, or one line a model; with the audit of production against the ledger (drift)."""

from __future__ import annotations

import json

from pipelines.released_model import known_names, open_model
from pipelines.status import status_text
from pipelines.status.model_status import read_status


def status(model: str | None, env: str, *, as_json: bool) -> None:
    """Print the status of a model, or, without one, of every model that has a file or a package group, one line each.

    Raises:
        ConfigError: There is no such model.
        LedgerBroken: A ledger's chain does not hold.
    """
    if model is not None:
        found = read_status(open_model(model, env))
        if as_json:
            print(json.dumps(found.to_dict()))
        else:
            status_text.show_model(found, env)
        return
    all_of_them = [read_status(open_model(name, env)) for name in known_names(env)]
    if as_json:
        print(json.dumps({"models": [each.to_dict() for each in all_of_them]}))
    else:
        status_text.show_all(all_of_them)
