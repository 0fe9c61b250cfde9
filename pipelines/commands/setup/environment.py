"""`environment`: a stack's outputs written into an environment file."""

from __future__ import annotations

from pathlib import Path

from config.loader import ENVIRONMENTS
from pipelines.errors import CommandError, UsageError
from pipelines.setup import environment_file


def environment(stack_name: str, *, region: str | None, file: str, overwrite: bool, dry_run: bool) -> None:
    """Write the stack's outputs into the file and print each change.

    Args:
        stack_name: A CloudFormation stack made from infra/delivery.yaml.
        region: The stack's; None: that of the AWS configuration.
        file: A name in config/environments, or a path.
        overwrite: Replace a person's own values that differ from the stack's.
        dry_run: Print what would change; write nothing.

    Raises:
        UsageError: There is no such file or stack.
        CommandError: Values of a person's own were kept.
    """
    path = Path(file) if "/" in file or file.endswith((".yaml", ".yml")) else ENVIRONMENTS / f"{file}.yaml"
    if not path.exists():
        raise UsageError(f"there is no {path}; copy config/environments/aws.yaml there first")
    settings = environment_file.stack_settings(stack_name, region)
    changes, text = environment_file.merge(path.read_text(encoding="utf-8"), settings, overwrite=overwrite)
    environment_file.check(text)
    if not dry_run:
        environment_file.write(path, text)
    for change in changes:
        print(change)
    written = [change for change in changes if change.action != "kept"]
    print(
        f"{path}: {len(written)} settings {'would be' if dry_run else 'were'} written" if written else f"{path}: nothing to write"
    )
    if len(written) < len(changes):
        raise CommandError("values that differ were kept; --overwrite takes the stack's")
