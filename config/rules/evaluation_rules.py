"""Whether an evaluation can say anything: prompt checks that can pass, loads that fit into the staging endpoint's life."""

from __future__ import annotations

from collections.abc import Iterator

from config.evaluation import Evaluation
from config.rules.finding import Finding
from loadtest.profiles import Capacity, ClosedLoop, Ladder, LoadProfile, OpenLoop, Ramp

_TYPOGRAPHIC = "“”„‟«»‘’‚‛"  # noqa: RUF001 - they are what is looked for
_STREAM_LIMIT_S = 480.0  # InvokeEndpointWithResponseStream (SageMaker developer guide, "Real-time inference")


def findings(evaluation: Evaluation) -> Iterator[Finding]:
    """Yield what is wrong with a model file's section `evaluation`, objectives apart."""
    yield from _prompt_checks(evaluation)
    for name, profile in evaluation.load_profiles.items():
        yield from _profile(name, profile)
    needed_s = sum(evaluation.least_s(profile) for profile in evaluation.load_profiles.values())
    if needed_s >= evaluation.max_runtime_s:
        message = (
            f"{evaluation.max_runtime_s} s are over before the load is: its profiles alone take {needed_s:g} s, and the endpoint has to come "
            f"up first; raise it, to {needed_s + 3600:g} say"
        )
        yield Finding(("evaluation", "max_runtime_s"), message, "load-does-not-fit")
        return
    for name, profile in evaluation.load_profiles.items():
        if isinstance(profile, ClosedLoop | OpenLoop) and profile.duration_at_most_s is not None:
            whole_s = needed_s - evaluation.least_s(profile) + evaluation.most_s(profile)
            if whole_s >= evaluation.max_runtime_s:
                message = (
                    f"{profile.duration_at_most_s:g} s are never reached: with the other loads, once each, they take {whole_s:g} s, and "
                    f"evaluation.max_runtime_s is {evaluation.max_runtime_s}; raise that, or lower this"
                )
                location = ("evaluation", "load_profiles", name, "duration_at_most_s")
                yield Finding(location, message, "measuring-on-does-not-fit", is_error=False)


def _prompt_checks(evaluation: Evaluation) -> Iterator[Finding]:
    checks = evaluation.prompt_checks
    if not checks:
        message = (
            "there is none: a model that answers nonsense, fast, passes the gate; add one, as in "
            '[{prompt: "What is the capital of France?", expect: Paris}]'
        )
        yield Finding(("evaluation", "prompt_checks"), message, "no-prompt-check", is_error=False)
    for index, check in enumerate(checks):
        for key, text in (("prompt", check.prompt), ("expect", check.expect)):
            location = ("evaluation", "prompt_checks", index, key)
            if not text.strip():
                why = "every answer has a blank, so it cannot fail" if key == "expect" else "it asks nothing"
                yield Finding(location, f"{text!r} will not do: {why}; write words", "prompt-check-blank")
            elif key == "expect" and (text[0] in _TYPOGRAPHIC or text[-1] in _TYPOGRAPHIC):
                plain = text.strip(_TYPOGRAPHIC)
                message = f'{text!r} will not do: typographic quotation marks are part of the text; write "{plain}"'
                yield Finding(location, message, "prompt-check-quotes")
        if len(check.expect) > 16 * check.max_tokens:
            message = f"{check.max_tokens} tokens are too few for the {len(check.expect)} characters that are expected; raise it"
            yield Finding(("evaluation", "prompt_checks", index, "max_tokens"), message, "prompt-check-too-short")


def _profile(name: str, profile: LoadProfile) -> Iterator[Finding]:
    above = ("evaluation", "load_profiles", name)
    if isinstance(profile, Capacity) and profile.start_rate_per_s > profile.highest_rate_per_s:
        message = f"{profile.start_rate_per_s:g} is more than highest_rate_per_s, {profile.highest_rate_per_s:g}; lower it"
        yield Finding((*above, "start_rate_per_s"), message, "rates-out-of-order")
    if isinstance(profile, Ladder) and profile.concurrencies != sorted(profile.concurrencies):
        message = f"{profile.concurrencies} do not rise, and the objectives are scored at the last; write {sorted(profile.concurrencies)}"
        yield Finding((*above, "concurrencies"), message, "concurrencies-fall", is_error=False)
    if isinstance(profile, Ramp) and profile.from_rate_per_s == profile.to_rate_per_s:
        message = f"{profile.to_rate_per_s:g} is the rate that it begins with; for an even rate write kind: open_loop"
        yield Finding((*above, "to_rate_per_s"), message, "ramp-is-flat", is_error=False)
    if profile.timeout_s > _STREAM_LIMIT_S:
        message = f"{profile.timeout_s:g} s is never reached: SageMaker ends a stream after {_STREAM_LIMIT_S:g} s; write {_STREAM_LIMIT_S:g} or less"
        yield Finding((*above, "timeout_s"), message, "timeout-beyond-sagemakers", is_error=False)
    if profile.warmup_s > profile.duration_s:
        message = f"{profile.warmup_s:g} s of warm-up are longer than the {profile.duration_s:g} s that count; did you mean it the other way round?"
        yield Finding((*above, "warmup_s"), message, "warmup-outlasts-load", is_error=False)
