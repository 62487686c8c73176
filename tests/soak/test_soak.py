"""The machinery of a soak: ten seconds, which are too short for a verdict about growth."""

import shutil

import pytest

from sampler import DAEMONS, HELD, MEMORY
from soak import Soak

SECONDS = 10


@pytest.mark.host
@pytest.mark.slow
def test_a_short_soak_measures_and_draws(tmp_path):
    told = []
    soak = Soak(SECONDS, tmp_path / "soak", "test", rate=0.5, out=told.append)
    soak.run()
    told = "\n".join(told)
    assert soak.tally.failed == 0, told
    wrong = [fault for fault in soak.faults if not fault.endswith("is not what it was")]
    assert not wrong, told
    assert soak.tally.pings and sum(soak.tally.done.values()) > SECONDS, told
    # On a busy machine a window of so short a soak may have no /run true to measure.
    assert all(finding.first is not None and finding.last is not None for finding in soak.findings if not finding.name.startswith("p99")), told
    # What is not recognised any more counts as nothing, and never grows.
    found = {finding.name: finding for finding in soak.findings}
    seen = [found[f"{daemon} {what}"] for daemon in DAEMONS for what in HELD]
    seen += [found[f"{'a runner' if daemon == 'runners' else daemon} {what} KiB"] for daemon in DAEMONS for what in MEMORY]
    assert not [finding for finding in seen if min(finding.first, finding.last) <= 0], told
    for name in ("held", "memory", "traffic", "latency"):
        assert len((tmp_path / f"soak/{name}.csv").read_text().splitlines()) > SECONDS, name
    assert sum(count for _, count in soak.sampler.traffic.series("2xx")) > 0
    if shutil.which("gnuplot"):
        picture = (tmp_path / "soak/soak.svg").read_text()
        assert picture.rstrip().endswith("</svg>") and "Latency of /run true" in picture
