"""
The verdict on a soak: did anything grow after the warm-up, did `/run true` become slower?

Growth is looked for in the *floor* of a series: what is held at the least in each fifth of a window (a minute of a long
run), and of these five the median. Load comes and goes, and what it holds for a moment with it; what has leaked is there in
the quietest moment, too. Pure functions of numbers; tests/soak/test_verdict.py shows what they see and what they do not.
"""

import math
import statistics
from typing import NamedTuple

WARM_UP = 300      # seconds of a long run; of a shorter one a sixth. The windows that are compared are as long
PARTS = 5          # of a window
SLOWER = 1.5       # times the first window's p99 is still well


class Slack(NamedTuple):
    """What a floor may be higher by: a part of itself, and so much in the unit of the series."""

    part: float
    units: float


def window(duration):
    """The length of the warm-up and of each window, in seconds."""
    return min(WARM_UP, duration / 6)


def within(series, begin, end):
    return [(when, value) for when, value in series if begin <= when < end]


def floor(series, begin, end):
    """The median of the lowest values of the window's parts; None of a window without values."""
    length = (end - begin) / PARTS
    parts = (within(series, begin + part * length, begin + (part + 1) * length) for part in range(PARTS))
    lowest = [min(value for _, value in part) for part in parts if part]
    return statistics.median(lowest) if lowest else None


def percentile(values, percent):
    """The nearest rank: the smallest value that so many percent do not exceed; None of nothing."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1] if values else None


class Finding(NamedTuple):
    """One row of the verdict: what a measure was after the warm-up, what at the end, and what it may be at most."""

    name: str
    first: float
    last: float
    limit: float

    @property
    def holds(self):
        return self.last is not None and self.first is not None and self.last <= self.limit


def growth(name, series, duration, slack):
    """The floor of the window that follows the warm-up, and that of the last one. `series` is [(seconds, value), ...]."""
    length = window(duration)
    first, last = floor(series, length, 2 * length), floor(series, duration - length, duration)
    return Finding(name, first, last, None if first is None else first * (1 + slack.part) + slack.units)


def slowing(name, series, duration):
    """The p99 of the first window, here with the warm-up, and that of the last one."""
    length = window(duration)
    first, last = (percentile([value for _, value in within(series, begin, begin + length)], 99) for begin in (0, duration - length))
    return Finding(name, first, last, None if first is None else first * SLOWER)
