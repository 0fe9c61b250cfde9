"""Two servers under the same load in alternating blocks, so that what both meet alike cancels in their ratio: the hour, the machine, the prompts.

(Interleaved trials: A. Abedi and T. Brecht, "Conducting Repeatable Experiments in Highly Variable Cloud Computing Environments", ICPE 2017.)
The order turns round with each pair (one, other, other, one, …), so that an even drift favours neither. Each block has a warm-up, and ends when
its last answer is complete: the servers never work at the same time, and may share a machine.
"""

from __future__ import annotations

from itertools import pairwise

from loadtest.profiles import ClosedLoop, LoadProfile, OpenLoop

_BLOCK_S = 30.0
"""A block this long has a steady middle, and a mood of the machine lasts longer than a few."""
_WARMUPS = 4
_PAIRS_AT_LEAST, _PAIRS_AT_MOST = 1, 4
_DRAIN_S = 5.0
"""How long the last answers of a block usually take."""


def blocks(profile: ClosedLoop | OpenLoop, duration_s: float) -> tuple[float, ...]:
    """Cut a measured time into blocks: an even number of them, as long as each other, and four times as long as the warm-up where that is long.

    Args:
        profile: The load, whose warm-up each block has.
        duration_s: How long one of the two is measured. Seconds.

    Returns:
        How long each block is. Seconds.

    Example:
        >>> load = OpenLoop(kind="open_loop", rate_per_s=2, duration_s=120, objectives={"error_rate": {"at_most": 0}})
        >>> blocks(load, 120)
        (30.0, 30.0, 30.0, 30.0)
        >>> blocks(load, 10)
        (5.0, 5.0)
    """
    block_s = max(_BLOCK_S, _WARMUPS * profile.warmup_s)
    pairs = min(max(int(duration_s / block_s / 2), _PAIRS_AT_LEAST), _PAIRS_AT_MOST)
    return (duration_s / (2 * pairs),) * (2 * pairs)


def takes_s(profile: ClosedLoop | OpenLoop, duration_s: float) -> float:
    """Return how long both servers are under a load for it to be measured for so long on each, warm-ups included. Seconds."""
    lengths = blocks(profile, duration_s)
    return 2 * (duration_s + len(lengths) * (profile.warmup_s + min(_DRAIN_S, profile.timeout_s)))


def least_s(profile: LoadProfile) -> float:
    """Return how long a load takes at least that is put on two servers: in blocks, or, where it has none, on one after the other. Seconds."""
    return takes_s(profile, profile.duration_s) if isinstance(profile, ClosedLoop | OpenLoop) else 2 * profile.least_s


def most_s(profile: ClosedLoop | OpenLoop) -> float:
    """Return how long it takes at most. Seconds."""
    looks_s = (0.0, *profile.looks_s)
    return sum(takes_s(profile, until_s - before_s) for before_s, until_s in pairwise(looks_s))
