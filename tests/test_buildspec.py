"""buildspec.yml, phase by phase in bash against sagemaker_local, on a small history of model files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipelines.setup.images import content_tag
from tests.support.codebuild import BUCKET, REGISTRY, Build, CodeBuild, codebuild

MODELS = ("one", "two", "three", "old")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CodeBuild]:
    """Four models that were delivered before."""
    with codebuild(tmp_path_factory.mktemp("codebuild")) as made:
        for model in MODELS:
            made.write_model(model)
        made.delivered(made.commit("Four models"))
        yield made


@pytest.fixture(scope="module")
def two_changed_one_deleted(line: CodeBuild) -> Build:
    """Two model files change, another is deleted while an execution of it runs."""
    sagemaker = line.client("sagemaker")
    definition = '{"Version": "2020-12-01", "Steps": [{"Name": "Wait", "Type": "Callback", "SqsQueueUrl": "%s"}]}'
    queue = line.client("sqs").create_queue(QueueName="waits")["QueueUrl"]
    role = "arn:aws:iam::123456789012:role/of-the-test"
    sagemaker.create_pipeline(PipelineName="release-old", PipelineDefinition=definition % queue, RoleArn=role)
    sagemaker.start_pipeline_execution(PipelineName="release-old")
    line.create_endpoint("old")
    line.write_model("one", concurrency=2)
    line.write_model("two", concurrency=2)
    line.model_file("old").unlink()
    line.commit("Two models change, one goes")
    return line.build()


def test_the_phases_install_check_build_and_release(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    assert two_changed_one_deleted.phases == {"install": 0, "pre_build": 0, "build": 0}, two_changed_one_deleted.output
    assert two_changed_one_deleted.recorded[:3] == ["make install", "make lint", "make test"]


def test_both_images_are_built_with_the_tag_of_their_content_and_pushed(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    for repository, dockerfile in (("release-steps", "container/steps.Dockerfile"), ("release-serving", "container/Dockerfile")):
        uri = f"{REGISTRY}/{repository}:{content_tag(dockerfile, line.clone)}"
        built = f"docker build --platform linux/amd64 --file {dockerfile} --tag {uri} ."
        recorded = two_changed_one_deleted.recorded
        assert recorded.index(built) < recorded.index(f"docker push {uri}")
        definition = line.client("sagemaker").describe_pipeline(PipelineName="release-one")["PipelineDefinition"]
        assert uri in definition


def test_a_release_starts_for_each_changed_model_and_for_no_other(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    assert line.counts(*MODELS) == {"one": 1, "two": 1, "three": 0, "old": 1}
    for model in ("one", "two"):
        [execution] = line.executions(model)
        assert execution["PipelineExecutionArn"] in two_changed_one_deleted.output
        assert (
            f"prefix=evaluations/{model}/{execution['PipelineExecutionArn'].rsplit('/', 1)[-1]}/"
            in two_changed_one_deleted.output
        )
    assert line.last_success() == line.git("rev-parse", "HEAD")


def test_a_deleted_model_starts_nothing_and_what_still_runs_is_said(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    [running] = line.executions("old")
    assert "old: its file was deleted; nothing is started, and nothing is taken down" in two_changed_one_deleted.output
    assert f"still running: {running['PipelineExecutionArn']}" in two_changed_one_deleted.output
    said = "production: the endpoint old (Creating), which costs what it costs until it is taken out of service: python -m pipelines.run retire old"
    assert said in two_changed_one_deleted.output


def test_every_pipeline_is_sent(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    names = {pipeline["PipelineName"] for pipeline in line.client("sagemaker").list_pipelines()["PipelineSummaries"]}
    assert names == {"promotion", "reap", "release-one", "release-two", "release-three", "release-old"}


def test_the_same_commit_again_builds_nothing_and_starts_nothing(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    before = line.counts(*MODELS)
    line.delivered(line.git("rev-parse", "HEAD^"))  # as when the first build was killed before it could say that it was done
    again = line.build()
    assert again.succeeded, again.output
    assert not [command for command in again.recorded if command.startswith("docker")]
    assert line.counts(*MODELS) == before
    assert again.output.count("was started already") == 2


def test_a_commit_that_changes_no_model_starts_nothing(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    before = line.counts(*MODELS)
    (line.clone / "README.md").write_text("Nothing that is released.\n")
    commit = line.commit("A word")
    build = line.build()
    assert build.succeeded, build.output
    assert "no model file changed; nothing is started" in build.output
    assert line.counts(*MODELS) == before
    assert line.last_success() == commit


def test_a_broken_model_file_is_one_clear_error_and_the_others_start(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    before, delivered = line.counts(*MODELS), line.last_success()
    line.write_model("one", change=lambda content: content["serving"].update(tensor_parallel_size=16))
    line.write_model("three", concurrency=3)
    line.commit("One mistake, one change")
    build = line.build()
    assert build.phases["build"] == 2
    assert build.output.count("error: one: ") == 1
    assert "needs 16 GPUs" in build.output
    assert line.counts(*MODELS) == before | {"three": 1}
    assert line.last_success() == delivered  # the next build begins there again


def test_a_dry_run_says_what_would_be_started_and_changes_nothing(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    before, delivered = line.counts(*MODELS), line.last_success()
    since = line.git("rev-parse", "HEAD")
    line.write_model("two", concurrency=7)
    line.write_model("here", change=lambda content: content["weights"].update(hub="local"))
    line.commit("One for AWS, one for this machine only")
    done = line.changed("--since", since, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "two: nothing is started: would be started" in done.stdout
    assert "here: nothing is started: its weights.hub is `local`" in done.stdout
    assert (line.counts(*MODELS), line.last_success()) == (before, delivered)


def test_the_very_first_delivery_is_of_its_own_commit_and_says_so(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    delivered = line.last_success()
    line.client("s3").delete_object(Bucket=BUCKET, Key="state/delivered.json")
    (line.clone / "README.md").write_text("Our account.\n")
    line.commit("Nothing of a model")
    first = line.changed("--dry-run")
    line.delivered(delivered)
    assert first.returncode == 0, first.stderr
    assert "nothing was delivered before, so only this commit counted" in first.stdout


def test_what_cannot_be_compared_is_refused_before_anything_is_sent(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    unknown = line.changed("--since", "0123456789abcdef0123456789abcdef01234567")
    assert unknown.returncode == 2
    assert "this clone has no commit '0123456789abcdef0123456789abcdef01234567'" in unknown.stderr
    line.write_model("three", concurrency=9)
    dirty = line.changed()
    line.git("checkout", "--quiet", "--", "config/models")
    assert dirty.returncode == 2
    assert dirty.stderr.startswith("error: ") and "three.yaml differs from the commit" in dirty.stderr
    delivered = line.git("rev-parse", "HEAD")
    line.delivered(delivered)
    line.git("checkout", "--quiet", "HEAD~1")
    older = line.changed()
    line.git("checkout", "--quiet", "main")
    assert older.returncode == 2
    assert f"is older than {delivered[:12]}, which was delivered already" in older.stderr


@pytest.mark.soak
def test_a_mended_model_file_starts_and_what_started_before_does_not_start_again(
    line: CodeBuild, two_changed_one_deleted: Build
) -> None:
    line.write_model("one", change=lambda content: content["serving"].update(tensor_parallel_size=32))
    line.write_model("two", concurrency=5)
    line.commit("Another mistake, another change")
    assert not line.build().succeeded
    before = line.counts(*MODELS)
    line.write_model("one", concurrency=6)
    commit = line.commit("Mended")
    mended = line.build()
    assert mended.succeeded, mended.output
    assert line.counts(*MODELS) == before | {"one": before["one"] + 1}
    assert line.last_success() == commit


def test_what_fails_the_tests_is_not_built_and_not_released(line: CodeBuild, two_changed_one_deleted: Build) -> None:
    before = line.counts(*MODELS)
    build = line.build(FAILING_TARGET="test")
    assert list(build.phases) == ["install", "pre_build"]
    assert build.recorded == ["make install", "make lint", "make test"]
    assert line.counts(*MODELS) == before
