"""`python -m config`: write schema.json, which editors use to complete and check model files, and aws_facts.json (`make schema`)."""

from __future__ import annotations

import json
from pathlib import Path

from config import aws_facts
from config.schema import ModelFile

SCHEMA_FILE = Path(__file__).with_name("schema.json")


def schema_text() -> str:
    """Return the JSON schema of a model file, as schema.json holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **ModelFile.model_json_schema()}
    return json.dumps(schema, indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    aws_facts.FILE.write_text(aws_facts.as_text(aws_facts.collect()), encoding="utf-8")
    print(f"wrote {SCHEMA_FILE.name} and {aws_facts.FILE.name}")
