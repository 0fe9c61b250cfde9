"""The process that runs lm-eval (EleutherAI's harness): its many imports stay out of the step, and it can be ended with everything it holds.

`python -m steps.evaluate_staging.lm_eval.process check|run ORDER ANSWER`: JSON files. `check` loads the tasks and their data and asks nothing of an
endpoint; `run` asks. The key of the endpoint is in OPENAI_API_KEY. The answer has what was found, or `error` with what to do next.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

_ANY_MODEL = "default"
"""lm-eval makes null of an empty name, which SGLang refuses; this is what SGLang itself takes where a request names none (DEFAULT_MODEL_NAME in
sglang/srt/entrypoints/openai/protocol.py)."""
_LONGEST_PROMPT_TOKENS = 1_000_000
"""lm-eval would cut prompts at 2,048 tokens; what is too long is for the endpoint to refuse."""


class _Refused(Exception):
    """The order can never work."""


def _check(order: dict[str, Any]) -> dict[str, Any]:
    """Load every task with its data."""
    if importlib.util.find_spec("lm_eval") is None:
        raise _Refused(
            "the model file names lm-eval tasks, but lm-eval is not installed here; install this project's group `lm-eval` in the image of "
            "the steps, or take evaluation.lm_eval out"
        )
    manager = _manager(order)
    for name in order["tasks"]:
        if name not in manager.all_tasks:
            raise _Refused(
                f"lm-eval has no task {name!r}; `lm-eval ls tasks` lists its own, evaluation.lm_eval.archive may bring others"
            )
        try:
            leaves = manager.load([name])["tasks"]
        except Exception as error:  # a data set that cannot be had raises anything, by its kind
            raise _Refused(
                f"lm-eval cannot load the task {name!r}: {type(error).__name__}: {error}; let this job reach the data set, or bring the task "
                "with its data in evaluation.lm_eval.archive"
            ) from error
        for leaf, task in leaves.items():
            if task.OUTPUT_TYPE != "generate_until":
                raise _Refused(
                    f"the lm-eval task {leaf!r} is scored by {task.OUTPUT_TYPE}, which a chat API does not give; choose one that generates, "
                    "such as gsm8k, ifeval or mmlu_pro"
                )
    return {}


def _run(order: dict[str, Any]) -> dict[str, Any]:
    """Ask every task's questions; metric → value, as lm-eval names them (`exact_match,none`)."""
    import lm_eval  # optional, and many seconds
    from lm_eval.models.openai_completions import LocalChatCompletion

    key = os.environ.get("OPENAI_API_KEY", "")
    model = LocalChatCompletion(
        base_url=order["base_url"],
        model=order["model"] or _ANY_MODEL,
        num_concurrent=order["concurrency"],
        timeout=order["timeout_s"],
        max_length=_LONGEST_PROMPT_TOKENS,
        header={"Authorization": f"Bearer {key}"},
    )
    manager, found = _manager(order), {}
    for name, task in order["tasks"].items():
        print(f"lm-eval: {name}", flush=True)  # noqa: T201  (the step's log)
        result = lm_eval.simple_evaluate(
            model=model,
            tasks=[name],
            task_manager=manager,
            limit=task["examples"],
            num_fewshot=task["fewshot"],
            gen_kwargs={"max_gen_toks": task["max_tokens"]} if task["max_tokens"] else None,
            apply_chat_template=True,
            log_samples=False,
        )
        found[name] = {metric: value for metric, value in result["results"][name].items() if isinstance(value, int | float)}
    return {"results": found}


def _manager(order: dict[str, Any]) -> Any:
    """Make lm-eval's index of tasks.

    Its own are thousands of files; where the model file's archive has all that is asked for, they are not read.
    """
    from lm_eval.tasks import TaskManager  # optional, as above

    if order["folder"]:
        brought = TaskManager(include_path=order["folder"], include_defaults=False)
        if set(order["tasks"]) <= set(brought.all_tasks):
            return brought
    return TaskManager(include_path=order["folder"])


def main(arguments: list[str]) -> int:
    """Run one order; return 0: the answer is good; 1: it says what went wrong; 2: it says what can never work."""
    action, order, answer = arguments
    code, said = 0, {}
    try:
        said = {"check": _check, "run": _run}[action](json.loads(Path(order).read_text(encoding="utf-8")))
    except _Refused as error:
        code, said = 2, {"error": str(error)}
    except Exception as error:  # noqa: BLE001  (the last frame: the step must hear of it, whatever it is)
        code, said = 1, {"error": f"lm-eval failed: {type(error).__name__}: {error}"}
    Path(answer).write_text(json.dumps(said), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
