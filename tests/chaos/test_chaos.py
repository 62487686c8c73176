"""
Everything at once, and daemons that die: see operations.py for what is done and model.py for what must hold.

The seed is random, and printed when the test fails. A fixed one would not make the test repeatable, since the timing is
half of what happens; it would only make every run try the same operations again, where another finds something new.
"""

import random

import pytest

from driver import chaos

SECONDS = 30


@pytest.mark.host
@pytest.mark.slow
def test_chaos():
    history = chaos(random.randrange(10**6), SECONDS)
    done = {name for (name, outcome), count in history.counts.items() if outcome != "skipped"}
    assert {"start a ticker", "kill", "follow", "a follower", "run", "hang up", "bind", "use the port"} <= done, history.summary()
