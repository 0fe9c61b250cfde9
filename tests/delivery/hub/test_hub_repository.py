from __future__ import annotations

import socket
from pathlib import Path

import pytest

from delivery.errors import DeliveryError, InputError
from delivery.hub import hub_repository
from local_hub.hub import DEFAULT_TOKEN, LocalHub
from tests.support.worlds import fetching


def refusal(release_of: str, revision: str, endpoint: str, token: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        hub_repository.choose_files(fetching.release(release_of, revision).model.weights, endpoint, token)
    message = str(caught.value)
    assert release_of in message
    assert revision in message
    assert endpoint in message
    return message


def test_a_repository_is_listed_and_its_documents_are_read(root: Path) -> None:
    files = fetching.model_files([1000, 2000])
    fetching.write_repository(root, "acme/model", files)
    with LocalHub(root=root, tree_page=2) as server:
        selection = hub_repository.choose_files(
            fetching.release("acme/model", server.revision("acme/model")).model.weights, server.endpoint, None
        )
    assert {f.path: f.size for f in selection.files} == {path: len(content) for path, content in files.items()}
    assert selection.architectures == ("LlamaForCausalLM",)
    assert selection.total_bytes == sum(map(len, files.values()))
    assert selection.notes == []


def test_an_architecture_that_sglang_does_not_know_is_a_warning(root: Path) -> None:
    files = fetching.model_files([1000])
    files["config.json"] = b'{"architectures": ["NobodyKnowsForCausalLM"]}'
    fetching.write_repository(root, "acme/strange", files)
    with LocalHub(root=root) as server:
        strange = fetching.release("acme/strange", server.revision("acme/strange"))
        (note,) = hub_repository.choose_files(strange.model.weights, server.endpoint, None).notes
    assert "does not know NobodyKnowsForCausalLM" in note


def test_what_does_not_exist_is_named(root: Path) -> None:
    fetching.write_repository(root, "acme/model", fetching.model_files([10]))
    with LocalHub(root=root) as server:
        assert "no repository acme/nothing" in refusal("acme/nothing", "0" * 40, server.endpoint)
        assert "no repository acme/nothing" in refusal("acme/nothing", "0" * 40, server.endpoint, DEFAULT_TOKEN)
        assert "no revision 0000" in refusal("acme/model", "0" * 40, server.endpoint)


def test_gated_and_private(root: Path) -> None:
    fetching.write_repository(root, "acme/gated", {"a.gguf": b"x"})
    fetching.write_repository(root, "acme/private", {"a.gguf": b"x"})
    with LocalHub(root=root, gated=["acme/gated"], private=["acme/private"]) as server:
        revision = server.revision("acme/gated")
        assert "is gated and no token is set" in refusal("acme/gated", revision, server.endpoint)
        assert "hub_token_secret" in refusal("acme/private", server.revision("acme/private"), server.endpoint)
        message = refusal("acme/gated", revision, server.endpoint, "hf_wrong")
        assert "hub_token_secret" in message
        assert "hf_wrong" not in message
        for repository in ("acme/gated", "acme/private"):
            weights = fetching.release(repository, server.revision(repository)).model.weights
            assert hub_repository.choose_files(weights, server.endpoint, DEFAULT_TOKEN).total_bytes == 1


def test_a_hub_that_is_not_there() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(DeliveryError, match="could not list acme") as caught:
            hub_repository.choose_files(fetching.release("acme/model").model.weights, endpoint, None)
    assert endpoint in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_token_comes_from_secrets_manager(aws: str) -> None:
    import boto3

    secrets = boto3.client("secretsmanager", region_name="us-east-1")
    assert hub_repository.read_token(None, "us-east-1") is None
    assert hub_repository.read_token("absent", "us-east-1") is None
    secrets.create_secret(Name="token", SecretString="hf_secret\n")
    assert hub_repository.read_token("token", "us-east-1") == "hf_secret"
    secrets.create_secret(Name="json", SecretString='{"token": "hf_secret"}')
    with pytest.raises(InputError, match="plain text") as caught:
        hub_repository.read_token("json", "us-east-1")
    assert "hf_secret" not in str(caught.value)


@pytest.mark.parametrize("text", ["hf_secret\nhf_secret", "hf_secret\x01", "hf_secret\x7f", "hf_secreté", "\n"])
def test_what_no_header_can_carry_is_refused_before_an_http_library_shows_it(aws: str, text: str) -> None:
    import boto3

    name = f"of-{text.encode().hex()}"
    boto3.client("secretsmanager", region_name="us-east-1").create_secret(Name=name, SecretString=text)
    with pytest.raises(InputError, match="plain text") as caught:
        hub_repository.read_token(name, "us-east-1")
    assert "hf_secret" not in str(caught.value)
