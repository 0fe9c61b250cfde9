"""`definition`: the JSON of a model's release pipeline, without account and network."""

from __future__ import annotations

import json

from pipelines.definitions import documents
from pipelines.resolution import resolve


def definition(model: str, env: str) -> None:
    """Print the definition, indented; nothing is sent anywhere. ConfigError for a file that is wrong."""
    print(json.dumps(json.loads(documents.release_document(resolve(model, env)).definition), indent=2))
