"""The command: `python -m pipelines.run`. Only its words and options; `pipelines.commands` has a module for each subcommand.

Each function imports its module when it is called, so that `--help` answers in 0.2 s of CPU: all of them together cost 0.7 s, most of it
boto3 and pydantic (a test measures it for every subcommand).
"""

from __future__ import annotations

import errno
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pipelines import diagnostics
from pipelines.errors import CommandError, UsageError

_BRIEF = """Bring a model from a Hugging Face revision to a SageMaker production endpoint, through a gate.
  python -m pipelines.run MODEL               release config/models/MODEL.yaml on this machine (--env aws: in AWS)
  python -m pipelines.run definition MODEL    print the pipeline's definition; nothing is sent anywhere
  python -m pipelines.run ask MODEL QUESTION  ask the production endpoint
  python -m pipelines.run --help              everything else
"""


class _ModelIsRelease(TyperGroup):
    """`run MODEL` is short for `run release MODEL`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            self._refuse_what_is_neither(args[0])
            args = ["release", *args]
        return super().resolve_command(ctx, args)

    def _refuse_what_is_neither(self, word: str) -> None:
        """Raise UsageError for a word that is no command, no model's name and no path of a file."""
        from config.loader import model_names
        from config.reading.suggest import did_you_mean

        models = model_names()
        if "/" in word or word.endswith((".yaml", ".yml")) or word in models:
            return
        meant = did_you_mean(word, [*self.commands, *models])
        raise UsageError(f"no command or model called {word!r}; {meant}Models: {', '.join(models)}; commands: --help")


_RELEASES, _VERSIONS, _VIEWS, _SETUP = "Releases", "Decisions about a version", "What there is", "Account and machine"
"""Where `--help` shows a subcommand: as the rooms of `pipelines.commands` are."""

app = typer.Typer(cls=_ModelIsRelease, add_completion=False, no_args_is_help=False, pretty_exceptions_enable=False)
local_app = typer.Typer(help="The SageMaker and the Hub on this machine.", no_args_is_help=True)
app.add_typer(local_app, name="local", rich_help_panel=_SETUP)

Model = Annotated[str, typer.Argument(help="A name in config/models, or the path of a model file.")]
Env = Annotated[str, typer.Option("--env", help="A name in config/environments (local, aws), or a path.")]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, with an `error` if it fails; progress goes to standard error.")
]
Version = Annotated[int, typer.Argument(help="A version's number in the Model Registry.", min=1)]
Comment = Annotated[str, typer.Option("--comment", help="Why: kept in the registry and in the ledger.")]


@app.callback(invoke_without_command=True)
def _root(ctx: typer.Context) -> None:
    """Bring a model from a Hugging Face revision to a SageMaker production endpoint, through a gate."""
    if ctx.invoked_subcommand is None:
        print(_BRIEF, end="")


@app.command(rich_help_panel=_RELEASES)
def release(
    model: Model,
    env: Env = "local",
    follow: Annotated[bool, typer.Option("--follow/--detach", help="Stay until it is over, or leave it running.")] = True,
    json: AsJson = False,
) -> None:
    """Release MODEL: fetch its weights, register, evaluate, gate, promote. `run MODEL` is short for this."""
    from pipelines.commands.releases import release as command

    command.release(model, env, follow=follow, as_json=json)


@app.command(rich_help_panel=_RELEASES)
def follow(model: Model, env: Env = "local", json: AsJson = False) -> None:
    """Follow MODEL's newest release, or the evaluation, promotion or rollback under way, to its end, as after --detach or Ctrl-C."""
    from pipelines.commands.releases import follow as command

    command.follow(model, env, as_json=json)


@app.command(rich_help_panel=_RELEASES)
def definition(model: Model, env: Env = "local") -> None:
    """Print the release pipeline's JSON. Needs no account and no network."""
    from pipelines.commands.releases import definition as command

    command.definition(model, env)


@app.command(rich_help_panel=_VIEWS)
def ask(
    model: Model,
    question: Annotated[str, typer.Argument(help="What to ask.")],
    env: Env = "local",
    max_tokens: Annotated[int, typer.Option(help="How many tokens the answer may have.", min=1)] = 64,
) -> None:
    """Ask MODEL's production endpoint and print the answer as it comes."""
    from pipelines.commands.views import ask as command

    command.ask(model, env, question, max_tokens)


@app.command(rich_help_panel=_VERSIONS)
def approve(
    model: Model,
    version: Version,
    env: Env = "local",
    comment: Comment = "",
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Although the gate or a person refused it, or production was rolled back from it; needs --comment."
        ),
    ] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Stay until the promotion that this starts is over.")] = False,
    json: AsJson = False,
) -> None:
    """Approve VERSION of MODEL, which starts its promotion. Who and why stand in the registry and in the ledger."""
    from pipelines.commands.versions import approve as command

    if follow:
        command.approve_and_follow(model, env, version, comment, force=force, as_json=json)
    else:
        command.approve(model, env, version, comment, force=force).show(as_json=json)


@app.command(rich_help_panel=_VERSIONS)
def reject(
    model: Model,
    version: Version,
    env: Env = "local",
    comment: Comment = "",
    force: Annotated[bool, typer.Option("--force", help="Although production serves it, and goes on to.")] = False,
    json: AsJson = False,
) -> None:
    """Reject VERSION of MODEL: nothing promotes it any more."""
    from pipelines.commands.versions import reject as command

    command.reject(model, env, version, comment, force=force).show(as_json=json)


@app.command(rich_help_panel=_VERSIONS)
def evaluate(
    model: Model,
    version: Version,
    env: Env = "local",
    force: Annotated[bool, typer.Option("--force", help="Although it has a verdict; the new one counts.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--detach", help="Stay until it is over, or leave it running.")] = True,
    json: AsJson = False,
) -> None:
    """Measure VERSION of MODEL again, where the numbers of its release decided nothing; gate and promotion follow as in a release."""
    from pipelines.commands.versions import evaluate as command

    command.evaluate(model, env, version, force=force, follow=follow, as_json=json)


@app.command(rich_help_panel=_VIEWS)
def history(model: Model, env: Env = "local", json: AsJson = False) -> None:
    """Show what happened to MODEL's versions, when and by whom; exit code 1 when the ledger's chain does not hold."""
    from pipelines.commands.views import history as command

    command.history(model, env, as_json=json)


@app.command(rich_help_panel=_VIEWS)
def report(
    model: Model,
    version: Annotated[
        int | None, typer.Argument(help="A version's number; without it, the newest that was evaluated.", min=1)
    ] = None,
    env: Env = "local",
    to: Annotated[Path | None, typer.Option("--to", help="A folder; without it, build/reports/MODEL/VERSION.")] = None,
    browser: Annotated[bool, typer.Option("--open", help="Open it in the browser too.")] = False,
) -> None:
    """Bring a version's evaluation here (report.html, the table of requests) and print where the page is."""
    from pipelines.commands.views import report as command

    page = command.report(model, env, version, to)
    print(page)
    if browser:
        typer.launch(str(page))


@app.command(rich_help_panel=_RELEASES)
def new(
    name: Annotated[str, typer.Argument(help="The model's name: config/models/NAME.yaml, and the endpoint.")],
    repository: Annotated[str, typer.Option("--from-hf", help="ORGANISATION/NAME on the Hugging Face Hub.")],
    instance: Annotated[
        str | None, typer.Option("--instance", help="On which instances; without it, the smallest that fits.")
    ] = None,
    slo: Annotated[
        list[str] | None, typer.Option("--slo", help="METRIC=BOUND, as in ttft_p99_ms=800; may be given often.")
    ] = None,
    hub: Annotated[str, typer.Option("--hub", help="The Hub's address.")] = "https://huggingface.co",
    to: Annotated[Path | None, typer.Option("--to", help="Another file than config/models/NAME.yaml.")] = None,
) -> None:
    """Write a model file for a repository: today's commit, an instance that it fits, flags, checks, bounds, each with its reason."""
    from pipelines.commands.releases import new as command

    command.new(name, repository, instance=instance, slo=slo or [], hub=hub, to=to)


@app.command(rich_help_panel=_RELEASES)
def plan(
    model: Model,
    env: Env = "local",
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither the Hub nor AWS: from the files alone.")] = False,
    json: AsJson = False,
) -> None:
    """Show what releasing MODEL would do, cost, need and change against production: a dry run, creates nothing."""
    from pipelines.commands.releases import plan as command

    command.plan(model, env, offline=offline, as_json=json)


@app.command(rich_help_panel=_RELEASES)
def check(
    files: Annotated[
        list[str] | None, typer.Argument(help="Model and environment files; without any: all of config/models and environments.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Check model and environment files, from the files alone: each problem with its line and what to do. Exit code 2 for errors."""
    from pipelines.commands.releases import check as command

    command.check(files or [], as_json=json)


@app.command(rich_help_panel=_RELEASES)
def changed(
    env: Env = "aws",
    since: Annotated[str | None, typer.Option(help="A commit; without it, the last success, which the bucket knows.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be started; start and send nothing.")] = False,
    json: AsJson = False,
) -> None:
    """Start a release for each model file that changed, once a commit. What CodeBuild runs (buildspec.yml)."""
    from pipelines.commands.releases import changed as command

    command.changed(env, since, dry_run=dry_run, as_json=json)


@app.command(rich_help_panel=_VIEWS)
def images(env: Env = "aws") -> None:
    """List the two images that this tree needs: name, Dockerfile, address, and whether the registry has it (container/push builds the rest)."""
    from pipelines.commands.views import images as command

    command.images(env)


@app.command(rich_help_panel=_VIEWS)
def status(
    model: Annotated[str | None, typer.Argument(help="A model's name or file; none: one line for each model.")] = None,
    env: Env = "local",
    json: AsJson = False,
) -> None:
    """Show what registry, staging, production and pipelines know of MODEL now, drift, and what waits for a person."""
    from pipelines.commands.views import status as command

    command.status(model, env, as_json=json)


@app.command(rich_help_panel=_VERSIONS)
def rollback(
    model: Model,
    to: Annotated[
        int | None, typer.Option("--to", help="A version that production served; default: the one before.", min=1)
    ] = None,
    env: Env = "local",
    comment: Comment = "",
    force: Annotated[bool, typer.Option("--force", help="Although that version was rejected since; needs a comment.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--detach", help="Stay until it is over, or leave it running.")] = True,
    json: AsJson = False,
) -> None:
    """Return MODEL's production to a version that it served before, as carefully as it was promoted."""
    from pipelines.commands.versions import rollback as command

    command.rollback(model, env, to, comment, force=force, follow=follow, as_json=json)


@app.command(rich_help_panel=_VERSIONS)
def retire(
    model: Model,
    comment: Annotated[str, typer.Option("--comment", help="Why: kept in the registry and in the ledger. It must be given.")],
    env: Env = "local",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask at a terminal.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--detach", help="Stay until it is over, or leave it running.")] = True,
    json: AsJson = False,
) -> None:
    """Take MODEL's production endpoint out of service: nothing serves it any more. Versions, weights and ledger stay."""
    from pipelines.commands.versions import retire as command

    command.retire(model, env, comment, yes=yes, follow=follow, as_json=json)


@app.command(rich_help_panel=_SETUP)
def doctor(
    models: Annotated[list[str] | None, typer.Argument(help="Models to look at; without any: all in config/models.")] = None,
    env: Env = "local",
    json: AsJson = False,
) -> None:
    """Check everything that a release needs: each line is ok, or says what to do. Changes nothing."""
    from pipelines.commands.setup import doctor as command

    command.doctor(models or [], env, as_json=json)


@app.command(rich_help_panel=_SETUP)
def environment(
    stack: Annotated[str, typer.Argument(help="The name of a CloudFormation stack made from infra/delivery.yaml.")],
    region: Annotated[str | None, typer.Option(help="The stack's region; without it: that of your AWS configuration.")] = None,
    file: Annotated[str, typer.Option(help="Which environment file: a name in config/environments, or a path.")] = "aws",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace values of your own that differ from the stack's.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; write nothing.")] = False,
) -> None:
    """Write a stack's outputs into an environment file. Comments and keys of your own stay."""
    from pipelines.commands.setup import environment as command

    command.environment(stack, region=region, file=file, overwrite=overwrite, dry_run=dry_run)


@local_app.command()
def up() -> None:
    """Start them and print how AWS clients reach them."""
    from pipelines.commands.setup import local as command

    command.up()


@local_app.command()
def down() -> None:
    """Stop them and everything that they run."""
    from pipelines.commands.setup import local as command

    command.down()


def main() -> None:
    """Run the command; every failure that is not a bug is one message and an exit code: 1 at run time, 2 for bad input."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without UTF-8 gets a ?, not a traceback
    diagnostics.configure()
    stdout = sys.stdout
    try:
        try:
            app()
        except SystemExit:
            if sys.stdout is stdout:
                raise
            raise BrokenPipeError from None  # typer exchanges it, and exits with 1, when its reader has gone
        finally:
            sys.stdout = stdout
            stdout.flush()
    except BrokenPipeError:
        _discard_output()  # whoever read it has read enough, as in `history | head -1`
    except Exception as error:
        from pipelines.commands import failures

        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            _discard_output()
            error = CommandError(
                f"the output could not be written: {error.strerror}; what was asked for may be done all the same"
            )
        exit_code = failures.report(error, as_json="--json" in sys.argv)
        if exit_code is None:
            raise
        sys.exit(exit_code)


def _discard_output() -> None:
    """Send what is still to be written to standard output nowhere: Python would complain of it when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
