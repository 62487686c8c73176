"""A short run of the HTTP fuzzer (http_fuzzer.py) with a random seed, which is shown when it fails."""

import random

import pytest

from http_fuzzer import fuzz


@pytest.mark.host
@pytest.mark.slow
def test_http_fuzzer():
    seed = str(random.randrange(10**6))
    print(f"seed {seed}")
    clients = fuzz(seed, range(1700))
    assert clients.requests >= 2000
    assert {200, 201, 400, 401, 404, 405} <= set(clients.statuses), clients.statuses
