"""The language of pipeline definitions: parsed, checked, resolved."""
