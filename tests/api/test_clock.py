"""Jobs while somebody sets the clock back or forth."""

import os
import pathlib
import subprocess

import pytest

from sandbox import SANITIZED, TEST_USER, wait_until

HOUR = 3600


class Clock:
    """The date of the processes of a server."""

    def __init__(self, directory):
        library = directory / "clock_shift.so"
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).with_name("clock_shift.c")], check=True)
        self.file = directory / "shift"
        self.shift(0)
        self.settings = {"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(self.file)}

    def shift(self, seconds):
        new = self.file.with_suffix(".new")
        new.write_text(str(seconds))
        os.chmod(new, 0o644)
        new.rename(self.file)


@pytest.fixture
def clock(open_directory):
    if SANITIZED or TEST_USER:
        pytest.skip("needs a preloaded library in all processes")
    return Clock(open_directory)


def times(server, job):
    entry = server.get(f"/get_process?id={job['id']}").json()
    return entry["started_at"], entry["ended_at"]


@pytest.mark.host
def test_the_clock_is_set_back(make_server, clock):
    """Jobs stay in the order of their starts, end no earlier than they began, have logs that never go back, and the last to
    have ended are kept."""
    server = make_server({**clock.settings, "SANDBOX_KEEP_FINISHED": "3"})
    old = [server.start("true") for _ in range(3)]
    for job in old:
        server.ended(job["id"])
    long = server.start("echo before; read x; echo after", stdin=True)
    with server.logs(long["id"]) as stream:
        assert stream.next().data["data"] == "before"
        clock.shift(-HOUR)
        job = server.start("echo young")
        assert server.ended(job["id"]) == "completed", "it is not forgotten as it ends"
        server.post("/write_stdin", id=long["id"], data="\n")
        assert stream.next().data["data"] == "after"
        server.ended(long["id"])
    assert [entry["id"] for entry in server.processes()] == [old[2]["id"], long["id"], job["id"]]
    for one in (long, job):
        started, ended = times(server, one)
        assert started <= ended
        with server.logs(one["id"]) as stream:
            stamps = [event.data["timestamp"] for event in stream.events()[:-1]]
        assert stamps == sorted(stamps) and started <= stamps[0] and stamps[-1] <= ended
    assert times(server, job)[0] < times(server, long)[0], "and the date is what the clock says"


@pytest.mark.host
def test_the_clock_is_set_forth(make_server, clock):
    """What is kept for a day is kept for a day, whatever the date; also by a procd that comes then."""
    server = make_server(clock.settings)
    jobs = [server.start("true") for _ in range(3)]
    for job in jobs:
        server.ended(job["id"])
    clock.shift(100 * 24 * HOUR)
    jobs.append(server.start("true"))
    server.ended(jobs[-1]["id"])
    server.back("procd", server.kill_daemon("procd"))
    wait_until(lambda: len(server.processes()) == 4, "all to be kept")
    assert [entry["id"] for entry in server.processes()] == [job["id"] for job in jobs]
