"""What the verdict of a soak sees, and what it does not take for growth."""

import math
import random

import pytest

import verdict

HOUR = 3600
SLACK = verdict.Slack(0.05, 16)


def series(value, duration=HOUR, interval=2):
    """[(seconds, value(seconds)), ...]"""
    return [(when, value(when)) for when in range(0, duration, interval)]


def noise(seed=1):
    """What load holds: mostly a little, at times a lot, and never less than nothing."""
    rng = random.Random(seed)
    return lambda: rng.expovariate(1 / 20)


def grows(value, duration=HOUR, slack=SLACK, interval=2):
    return not verdict.growth("it", series(value, duration, interval), duration, slack).holds


def test_what_stays_holds():
    assert not grows(lambda when: 100)
    assert not grows(lambda when: 0)


@pytest.mark.parametrize("seed", range(20))
def test_noise_is_no_growth(seed):
    sound = noise(seed)
    assert not grows(lambda when: 100 + sound())


def test_more_load_for_a_moment_is_no_growth():
    assert not grows(lambda when: 1000 if 3500 < when < 3530 else 100)
    assert not grows(lambda when: 1000 if when > 3590 else 100)


def test_a_wave_of_the_load_is_no_growth():
    assert not grows(lambda when: 100 + 50 * math.sin(when / 8))


def test_what_grows_in_the_warm_up_is_no_growth():
    assert not grows(lambda when: 100 + min(when, verdict.WARM_UP))


@pytest.mark.parametrize("seed", range(20))
def test_a_leak_is_seen_through_the_noise(seed):
    sound = noise(seed)
    assert grows(lambda when: 100 + when / 100 + sound())


def test_a_step_that_stays_is_growth():
    assert grows(lambda when: 100 if when < 1800 else 130)


def test_the_slack_is_a_part_and_units():
    assert not grows(lambda when: 1000 if when < 1800 else 1066)
    assert grows(lambda when: 1000 if when < 1800 else 1067)
    assert not grows(lambda when: 0, slack=verdict.Slack(0, 0))
    assert grows(lambda when: when > 1800, slack=verdict.Slack(0, 0.5))


def test_less_is_no_growth():
    assert not grows(lambda when: 1000 - when / 10)


def test_the_windows_of_a_short_run_are_its_sixths():
    assert verdict.window(60) == 10 and verdict.window(HOUR) == 300
    assert not grows(lambda when: 100 if when < 10 else 200, duration=60, interval=1)  # warm-up
    assert grows(lambda when: 100 if when < 45 else 200, duration=60, interval=1)


def test_what_was_not_measured_does_not_hold():
    assert grows(lambda when: 100, duration=600, interval=600)
    assert not verdict.growth("it", [(when, 1) for when in range(0, 1800)], HOUR, SLACK).holds
    assert not verdict.slowing("it", [], HOUR).holds


def test_percentile_is_the_nearest_rank():
    assert verdict.percentile(list(range(1, 101)), 99) == 99
    assert verdict.percentile([3, 1, 2], 50) == 2
    assert verdict.percentile([5], 99) == 5
    assert verdict.percentile([], 99) is None


def test_the_p99_may_be_half_more():
    def slower(late, every=2):
        return not verdict.slowing("it", series(lambda when: late if when > 3000 and when % every == 0 else 10), HOUR).holds

    assert not slower(10)
    assert not slower(15)
    assert slower(16)
    assert slower(100, every=50)
    assert not slower(100, every=200)  # one of the 150 in the window
