"""The layouts of well-known repositories: what is fetched is what SGLang reads, and what it cannot load is refused before a byte is.

No Hub was in reach when this was written: each layout names where it was seen, and what of it was not. Sizes that are not said to be
seen are of the right order alone; nothing here depends on them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from config.weights import Weights
from delivery.errors import InputError
from delivery.hub.selection import HubFile, Listing, Selection, select

GB = 10**9
SMALL = {
    "config.json": 1000,
    "generation_config.json": 200,
    "tokenizer.json": 11_000_000,
    "tokenizer_config.json": 10_000,
    "README.md": 5000,
    "LICENSE": 1000,
}


@dataclass(frozen=True)
class Repository:
    """A repository: its files and their sizes, which of its weights its index names."""

    files: dict[str, int]
    seen: str = ""
    """Where the names were seen; empty: made up for the test."""
    index: list[str] | None = None
    config: dict[str, Any] | None = field(default_factory=lambda: {"architectures": ["LlamaForCausalLM"]})
    tokenizer_config: dict[str, Any] = field(default_factory=dict)

    def select(self, *, for_sglang: bool = True, **weights: Any) -> Selection:
        files = dict(self.files) | ({"model.safetensors.index.json": 50_000} if self.index is not None else {})
        documents = {
            "config.json": json.dumps(self.config).encode(),
            "tokenizer_config.json": json.dumps(self.tokenizer_config).encode(),
            "generation_config.json": b"{}",
            "model.safetensors.index.json": json.dumps({"weight_map": {name: name for name in self.index or []}}).encode(),
        }
        listing = Listing("acme/m", "0" * 40, tuple(HubFile(path, size, "0" * 40, "1" * 64) for path, size in files.items()))
        words = Weights.model_validate({"repository": "acme/m", "revision": "0" * 40, **weights})
        return select(listing, {path: documents[path] for path in listing.documents}, words, for_sglang=for_sglang)

    @property
    def read_by_sglang(self) -> set[str]:
        """Which weights SGLang 0.5.20 would load out of the whole repository: written from its source, apart from what is tested."""
        top = [path for path in self.files if "/" not in path and path.endswith(".safetensors")]
        if self.index is not None:
            mtp = (self.config or {}).get("num_nextn_predict_layers") and "Glm4MoeForCausalLM" in (self.config or {})[
                "architectures"
            ]
            return {path for path in top if path in self.index or (mtp and path == "mtp.safetensors")}
        return set(top) - {"consolidated.safetensors"} if len(top) == 2 else set(top)


def shards(
    count: int, total: float, stem: str = "model", folder: str = "", form: str = "{stem}-{n:05}-of-{count:05}"
) -> dict[str, int]:
    names = [form.format(stem=stem, n=n, count=count) for n in range(1, count + 1)]
    return {f"{folder}{name}.safetensors": int(total / count) for name in names}


def from_0(last: int, total: float) -> dict[str, int]:
    """Return gpt-oss's names: -00000-of-00014 is the first of fifteen."""
    return {f"model-{n:05}-of-{last:05}.safetensors": int(total / (last + 1)) for n in range(last + 1)}


def indexed(*parts: dict[str, int], seen: str = "", extra: dict[str, int] | None = None, **more: Any) -> Repository:
    named = [path for part in parts for path in part]
    files = {**SMALL, **{path: size for part in parts for path, size in part.items()}, **(extra or {})}
    return Repository(files, seen, named, **more)


_LIST = "a public list of the Hub's files (the search that found it names no repository)"
_NOT = "not seen: written from memory"

WELL_KNOWN = {
    "Qwen/Qwen3-32B": indexed(
        shards(17, 65_524_246_528),
        seen="17 shards: the Hub's index, quoted in a public page; total: tests/support/well_known.py",
        extra={"vocab.json": 2_776_833, "merges.txt": 1_671_853},
    ),
    "Qwen/Qwen3-235B-A22B": indexed(shards(118, 470_187_269_120), seen="a listing of the Hub's cache at revision 8efa617"),
    "Qwen/Qwen3-0.6B": Repository(
        {**SMALL, "model.safetensors": 1_503_300_328, "vocab.json": 2_776_833},
        "name and size: another project's copy of the Hub's answer",
    ),
    "Qwen/Qwen2.5-VL-72B-Instruct": indexed(
        shards(38, 146_821_554_688),
        seen="of Qwen2-VL-72B-Instruct: ZHUI/paddlenlp_model_readme, Qwen/Qwen2-VL-72B-Instruct/index.md, 38 shards; of 2.5 not seen",
        extra={"preprocessor_config.json": 350, "chat_template.json": 1050},
    ),
    "meta-llama/Llama-3.3-70B-Instruct": indexed(
        shards(30, 141_107_412_992),
        seen=f"30 shards: {_LIST}; original/consolidated.00.pth of Llama 3.1 and 3.2: torchtune's commands, of 3.3 not seen",
        extra={
            **{f"original/consolidated.{n:02}.pth": int(17.6 * GB) for n in range(8)},
            "original/params.json": 220,
            "original/tokenizer.model": 2_183_982,
        },
    ),
    "meta-llama/Llama-3.1-8B-Instruct": indexed(
        shards(4, 16 * GB),
        seen="4 shards: the log on docs.sglang.ai/start/send_request.html; original/consolidated.00.pth: torchtune's commands",
        extra={"original/consolidated.00.pth": 16 * GB},
    ),
    "openai/gpt-oss-120b": indexed(
        from_0(14, 65_248_893_184),
        seen=f"fifteen files from 0, original/model--00001-of-00007, metal/model.bin: {_LIST}; the sum: another project's test",
        extra={
            **shards(7, 65.2 * GB, folder="original/", form="{stem}--{n:05}-of-{count:05}"),
            "original/model.safetensors.index.json": 30_000,
            "original/config.json": 300,
            "metal/model.bin": 65 * GB,
            "chat_template.jinja": 15_000,
        },
    ),
    "openai/gpt-oss-20b": indexed(
        from_0(2, 13_761_316_904),
        seen="names and sizes: another project's notes of the Hub's files",
        extra={"original/model.safetensors": 13_761_300_984, "original/config.json": 300, "metal/model.bin": 13_750_886_400},
    ),
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": indexed(
        shards(10, 48_022_722_560),
        seen="total: tests/support/well_known.py; ten shards and consolidated.safetensors not seen",
        extra={"consolidated.safetensors": 48 * GB, "tekken.json": 14_801_223, "params.json": 1100},
    ),
    "mistralai/Mistral-7B-Instruct-v0.3": indexed(
        shards(3, 14.5 * GB),
        seen='"~14.5 GB, excluding the duplicated consolidated.safetensors": another project\'s notes; three shards not seen',
        extra={"consolidated.safetensors": int(14.5 * GB), "tokenizer.model.v3": 587_404},
    ),
    "mistralai/Ministral-one-shard": Repository({**SMALL, "model.safetensors": 6 * GB, "consolidated.safetensors": 6 * GB}),
    "deepseek-ai/DeepSeek-R1": indexed(
        shards(163, 688_586_727_753, form="{stem}-{n:05}-of-{count:06}"),
        seen="model-00001-of-000163.safetensors: other projects' listings of R1 and V3; figures/ not seen",
        extra={"figures/benchmark.jpg": 777_000, "modeling_deepseek.py": 75_000, "configuration_deepseek.py": 10_000},
        config={"architectures": ["DeepseekV3ForCausalLM"]},
    ),
    "google/gemma-3-27b-it": indexed(
        shards(12, 54_864_813_280),
        seen=f"12 shards: {_LIST}; total: tests/support/well_known.py",
        extra={"tokenizer.model": 4_689_074, "added_tokens.json": 35},
    ),
    "google/gemma-2b": indexed(
        shards(2, 5 * GB),
        seen="gemma-2b.gguf, 10.0GB: another project's table of the Hub's addresses; shards not seen",
        extra={"gemma-2b.gguf": 10 * GB},
    ),
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": Repository(
        {
            **SMALL,
            "model.safetensors": 3_422_777_952,
            "onnx/model.onnx_data": 6_847_602_688,
            "onnx/model_q4.onnx": GB,
            "instructions_function_calling.md": 3000,
            "runs/events.out.tfevents.1": 40_000,
        },
        "model.safetensors and onnx/model.onnx_data: a listing of the Hub's cache at revision 31b70e2; the rest not seen",
    ),
    "zai-org/GLM-4.5-Air": indexed(
        shards(47, 220 * GB),
        seen="47 shards: another project's test; total not seen",
        config={"architectures": ["Glm4MoeForCausalLM"], "num_nextn_predict_layers": 1},
    ),
    "baseten-admin/glm-4.7-fp4": indexed(
        shards(41, 200 * GB),
        seen=f"{_NOT}; that SGLang reads mtp.safetensors beside an index is in its source",
        extra={"mtp.safetensors": 5 * GB},
        config={"architectures": ["Glm4MoeForCausalLM"], "num_nextn_predict_layers": 1},
    ),
    "moonshotai/Kimi-K2": indexed(
        shards(61, 1000 * GB, form="{stem}-{n}-of-{count}"),
        seen="model-1-of-61.safetensors: several projects' notes on Kimi-K2-Base and -Instruct; the rest not seen",
        extra={"tiktoken.model": 2_795_286, "figures/kimi.png": 100_000},
    ),
    "microsoft/Phi-4": indexed(shards(6, 29.3 * GB), seen=f"6 shards: {_LIST}; total not seen"),
    "TheBloke/Llama-2-70B-Chat-AWQ": indexed(shards(4, 36.6 * GB), seen=_NOT, extra={"quant_config.json": 90}),
    "RedHatAI/Qwen3-32B-FP8-dynamic": indexed(shards(7, 34 * GB), seen=_NOT, extra={"recipe.yaml": 150}),
    "tiiuae/falcon-40b": indexed(
        shards(9, 83 * GB),
        seen=f"9 shards: {_LIST}; the pickles beside them not seen",
        extra={f"pytorch_model-{n:05}-of-00009.bin": int(9.3 * GB) for n in range(1, 10)},
    ),
    "bigscience/bloom": indexed(
        shards(72, 352 * GB, form="{stem}_{n:05}-of-{count:05}"),
        seen='"shards its root safetensors with an underscore, and ships the same 72 shards again" as pickles: another project\'s test',
        extra={**{f"pytorch_model_{n:05}-of-00072.bin": int(4.9 * GB) for n in range(1, 73)}, "tensorboard/logs.tar.gz": GB},
    ),
    "a finetune with its checkpoints": indexed(
        shards(4, 16 * GB),
        extra={
            **shards(4, 16 * GB, folder="checkpoint-500/"),
            "checkpoint-500/optimizer.pt": 32 * GB,
            "checkpoint-500/config.json": 900,
        },
    ),
    "safetensors beside three GGUFs": indexed(
        shards(4, 16 * GB), extra={"m-q4.gguf": 5 * GB, "m-q8.gguf": 9 * GB, "m-f16.gguf": 15 * GB}
    ),
    "engines and drafts of others beside": indexed(
        shards(4, 16 * GB),
        extra={
            "trtllm_engine/rank0.engine": 16 * GB,
            "eagle/model.safetensors": 2 * GB,
            "demo.mp4": 90_000_000,
            "assets/plot.png": 900_000,
        },
    ),
    "shards without an index": Repository({**SMALL, **shards(3, 30 * GB)}),
}


@pytest.mark.parametrize("name", WELL_KNOWN)
def test_what_is_fetched_is_what_sglang_reads(name: str) -> None:
    repository = WELL_KNOWN[name]
    selection = repository.select()
    weights = {
        f.path for f in selection.files if f.path.endswith((".safetensors", ".bin", ".pt", ".pth", ".gguf", ".onnx", ".engine"))
    }
    assert weights == repository.read_by_sglang
    assert sum(f.size for f in selection.files if f.path not in weights) < 0.1 * GB
    assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= {f.path for f in selection.files}
    left = sum(repository.files.values()) + (50_000 if repository.index is not None else 0) - selection.total_bytes
    assert selection.left_out_bytes == left
    assert not left or any("left out" in note for note in selection.notes)


def test_there_are_twenty_of_them() -> None:
    assert sum(bool(repository.seen) for repository in WELL_KNOWN.values()) >= 20


NUMBERED = {
    "from 1": [f"model-{n:05}-of-00003.safetensors" for n in (1, 2, 3)],
    "from 0, as gpt-oss": [f"model-{n:05}-of-00002.safetensors" for n in (0, 1, 2)],
    "from 0 to count - 1": [f"model-{n:05}-of-00003.safetensors" for n in (0, 1, 2)],
    "six digits, as DeepSeek": [f"model-{n:05}-of-000003.safetensors" for n in (1, 2, 3)],
    "no zeros, as Kimi": [f"model-{n}-of-3.safetensors" for n in (1, 2, 3)],
    "underscore, as bloom": [f"model_{n:05}-of-00003.safetensors" for n in (1, 2, 3)],
}


@pytest.mark.parametrize("form", NUMBERED)
def test_shards_are_one_model_however_they_are_numbered(form: str) -> None:
    """Without an index: all of them are taken, and one that is missing is said to be missing, not "several models"."""
    names = NUMBERED[form]
    whole = Repository({**SMALL, **dict.fromkeys(names, GB)}).select()
    assert {file.path for file in whole.files} >= set(names)
    missing = int(names[1].rpartition("-of-")[0].replace("_", "-").rpartition("-")[2])
    with pytest.raises(InputError, match=rf"number {missing} is not among the chosen files \(1 are missing\)"):
        Repository({**SMALL, **dict.fromkeys([names[0], names[2]], GB)}).select()


def test_the_bytes_saved_are_said() -> None:
    selection = WELL_KNOWN["openai/gpt-oss-120b"].select()
    assert selection.left_out_bytes == pytest.approx(
        130.2 * GB, rel=0.01
    )  # original/ and metal/, each as large as what is fetched
    [note] = selection.notes
    assert note.startswith("left out, since no server reads it: ")
    assert "bytes" in note


QUANTISATIONS = {f"m-{name}.gguf": 40 * GB for name in ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0", "F16")}
SPLIT = {f"Q4/m-Q4-{n:05}-of-00003.gguf": 40 * GB for n in (1, 2, 3)}
UNLOADABLE: dict[str, tuple[Repository, str]] = {
    "LoRA adapter": (
        Repository({"adapter_config.json": 700, "adapter_model.safetensors": GB, "README.md": 1}, config=None),
        "is an adapter",
    ),
    "diffusers": (
        Repository(
            {"model_index.json": 500, "unet/diffusion_pytorch_model.safetensors": GB, "vae/model.safetensors": GB}, config=None
        ),
        "pipeline of diffusers",
    ),
    "FLUX": (
        Repository({"model_index.json": 500, "flux1-dev.safetensors": 24 * GB, "vae/config.json": 1}, config=None),
        "pipeline of diffusers",
    ),
    "folders only": (Repository({**SMALL, "weights/model.safetensors": GB}), "in folders only (weights/model.safetensors)"),
    "a shard is missing": (
        Repository({**SMALL, "model-00001-of-00003.safetensors": GB, "model-00003-of-00003.safetensors": GB}),
        "is in 3 parts and number 2 is not",
    ),
    "one of three parts": (
        Repository({**SMALL, "model-00001-of-00003.safetensors": GB}),
        "number 2 is not among the chosen files (2 are missing)",
    ),
    "two precisions": (Repository({**SMALL, "model.safetensors": GB, "model.fp16.safetensors": GB}), "one over the other"),
    "no config.json": (Repository({"model.safetensors": GB, "tokenizer.json": 1}, config=None), "there is no config.json"),
    "no tokenizer": (Repository({"model.safetensors": GB, "config.json": 1}), "there is no tokenizer"),
    "GGUF of every size": (Repository({**QUANTISATIONS, "README.md": 1}, config=None), "has its weights as GGUF"),
    "GGUF in parts": (Repository({**SPLIT, "README.md": 1}, config=None), "has its weights as GGUF"),
    "code of the tokenizer": (
        Repository(
            {**SMALL, "model.safetensors": GB, "tokenization_x.py": 1}, tokenizer_config={"auto_map": {"AutoTokenizer": "x"}}
        ),
        "tokenizer_config.json names it in auto_map",
    ),
    "empty": (Repository({}, config=None), "is empty; choose another repository or revision"),
    "only words": (Repository({"README.md": 1, "config.json": 1}), "has no *.safetensors"),
    "pickles": (Repository({**SMALL, "pytorch_model.bin": GB}), "pickles only"),
}


@pytest.mark.parametrize("name", UNLOADABLE)
def test_what_sglang_cannot_load_is_refused(name: str) -> None:
    repository, says = UNLOADABLE[name]
    with pytest.raises(InputError, match="acme/m at 000") as refused:
        repository.select()
    assert says in str(refused.value)


def test_an_index_or_a_shard_that_the_choice_lost_is_refused() -> None:
    qwen = WELL_KNOWN["Qwen/Qwen3-32B"]
    with pytest.raises(InputError, match=r"model\.safetensors\.index\.json is there and not among the chosen files"):
        qwen.select(exclude=["*.index.json"])
    with pytest.raises(InputError, match="names shards that are not among the chosen files: model-00002-of-00017"):
        qwen.select(exclude=["model-00002-*"])
    with pytest.raises(InputError, match=r"no config\.json among the chosen files.*leave it out"):
        qwen.select(exclude=["config.json"])
    with pytest.raises(InputError, match=r"no file matches weights\.include .'nothing'.*the repository has"):
        qwen.select(include=["nothing"])


def test_a_folder_that_is_named_is_fetched() -> None:
    beside = WELL_KNOWN["engines and drafts of others beside"]
    patterns = ["*.safetensors", "*.json", "eagle/*"]
    assert "eagle/model.safetensors" in {f.path for f in beside.select(include=patterns).files}


def test_on_this_machine_one_gguf_is_served_and_must_be_named() -> None:
    quantised = Repository({**QUANTISATIONS, "mmproj-F16.gguf": GB, "README.md": 1}, config=None)
    with pytest.raises(InputError, match=r"has 7 GGUF models .*weights\.include: \[.m-F16\.gguf.\]"):
        quantised.select(for_sglang=False)
    chosen = quantised.select(for_sglang=False, include=["m-Q4_K_M.gguf", "mmproj-*", "README.md"])
    assert {f.path for f in chosen.files} == {"m-Q4_K_M.gguf", "mmproj-F16.gguf", "README.md"}
    split = Repository({**SPLIT, "m-F16.gguf": GB}, config=None)
    assert len(split.select(for_sglang=False, include=["Q4/*"]).files) == 3
    with pytest.raises(InputError, match="is in 3 parts and number 2 is not"):
        split.select(for_sglang=False, include=["*-00001-*"])
