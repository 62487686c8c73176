"""
What a process prints without end costs the disk SANDBOX_LOG_MAX and nobody any memory. LOG_LINES sets how much it is
(`LOG_LINES=100000000` for the test of an hour).
"""

import os
import signal
import struct

import pytest

from sandbox import BIG_TIMEOUT, DEADLINE, SANITIZED, EventStream, freeze, proc_file, proc_stat, wait_until

LINES = int(os.environ.get("LOG_LINES", "3000000"))
LIMIT = 1 << 20
SEGMENT = LIMIT // 16
EVENT = LIMIT // 4

FIELDS = ("first_offset", "first_line", "next_offset", "next_line", "lines_dropped")


def position(server, identifier):
    """The numbers of the position file (procd/log/job_position.h): a header, then fields of tag, length and value."""
    (path,) = server.run_dir.rglob(f"{identifier}/position")
    raw = path.read_bytes()
    assert raw[:4] == b"pcd1" and len(raw) == 16 + 16 * len(FIELDS)
    return dict(zip(FIELDS, (struct.unpack_from("<q", raw, 16 + 16 * number + 8)[0] for number in range(len(FIELDS)))))


def directory(server, identifier):
    """Its size on the disk; a segment may go while it is looked at."""
    total = 0
    for path in next(server.run_dir.rglob(f"{identifier}/position")).parent.iterdir():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass
    return total


def memory(pid):
    """(proportional, peak resident) KiB of a process."""
    def field(name, key):
        return int(proc_file(pid, name).split(key)[1].split()[0])

    return field("smaps_rollup", b"\nPss:"), field("status", b"VmHWM:")


@pytest.mark.host
@pytest.mark.slow
def test_output_without_end(make_server, tmp_path):
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    gate, half, end = tmp_path / "go", tmp_path / "half", tmp_path / "end"
    early = LINES // 10
    job = server.start(f"seq {early}; touch {half}; while [ ! -e {gate} ]; do sleep 0.01; done; "
                       f"seq {early + 1} {LINES}; while [ ! -e {end} ]; do sleep 0.01; done")
    identifier = job["id"]
    wait_until(half.exists, "the first lines", BIG_TIMEOUT)
    pids = {"runner": proc_stat(job["pid"])[1], "procd": server.daemon("procd"), "fcgi-app": server.daemon("fcgi-app")}
    wait_until(lambda: position(server, identifier)["next_line"] == early, "all of them in the log")
    with EventStream(server, "GET", f"/process_logs_streaming?id={identifier}&tail=0") as stuck:  # reads nothing
        before = {name: memory(pid) for name, pid in pids.items()}
        gate.touch()
        samples = []

        def look():
            now = position(server, identifier)
            samples.append(now)
            assert directory(server, identifier) <= LIMIT + SEGMENT + 4096
            assert now["next_offset"] - now["first_offset"] <= LIMIT + SEGMENT
            return now["next_line"] == LINES

        wait_until(look, "all lines in the log", max(BIG_TIMEOUT, LINES / 20000))
        after = {name: memory(pid) for name, pid in pids.items()}
        end.touch()
        server.ended(identifier, DEADLINE)
        missed = stuck.events()
    if not SANITIZED:
        for name in ("runner", "procd", "fcgi-app"):
            for old, new in zip(before[name], after[name]):
                assert new <= old + 1024, (name, before, after)
    for one, other in zip(samples, samples[1:]):
        assert all(one[name] <= other[name] for name in FIELDS)
    last = position(server, identifier)
    assert last["next_line"] == LINES and last["lines_dropped"] == last["first_line"] > 0
    with EventStream(server, "GET", f"/process_logs_streaming?id={identifier}&tail={LINES}") as stream:
        kept = stream.events()[:-1]
    assert [event.data["data"] for event in kept] == [str(number) for number in range(last["first_line"] + 1, LINES + 1)]
    assert kept[0].id == f"{identifier[:8]}-{last['first_offset']}-{last['first_line']}"
    assert last["next_offset"] - last["first_offset"] > LIMIT - 2 * SEGMENT
    gaps = [event.data for event in missed if event.name == "gap"]
    assert gaps and sum(gap["missed_lines"] for gap in gaps) + sum(event.name == "log" for event in missed) == LINES - early


@pytest.mark.host
def test_the_newest_event_stays_however_long(make_server):
    """Lines far longer than a segment, and one longer than an event: split, marked, and the newest is always there."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    identifier = server.start("for i in 1 2 3 4 5 6; do head -c 260000 /dev/zero | tr '\\0' $i; echo; done; "
                              "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last")["id"]
    server.ended(identifier, BIG_TIMEOUT)
    assert directory(server, identifier) <= LIMIT + EVENT + SEGMENT + 8192
    with EventStream(server, "GET", f"/process_logs_streaming?id={identifier}") as stream:
        *events, complete = stream.events()
    assert complete.name == "complete" and events[-1].data["data"] == "last"
    # The last piece is empty where a read ended just before the newline.
    pieces = [event for event in events[:-1] if not event.data["data"][:1].isdigit()]
    assert pieces and all(0 < len(event.data["data"]) <= EVENT for event in pieces[:-1]) and len(pieces[-1].data["data"]) <= EVENT
    assert ["continued" in event.data for event in pieces] == [True] * (len(pieces) - 1) + [False]
    numbers = [int(event.id.split("-")[2]) for event in events]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    now = position(server, identifier)
    assert now["first_line"] == numbers[0] == now["lines_dropped"] and now["next_line"] == numbers[-1] + 1


@pytest.mark.host
def test_the_ends_of_a_log_are_told(make_server, tmp_path):
    """The ids in lists are those of the stream, while the process runs and afterwards."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})

    def ends():
        process = server.get(f"/get_process?id={identifier}").json()
        with EventStream(server, "GET", f"/process_logs_streaming?id={identifier}&tail=100000&follow=0") as stream:
            events = stream.events()[:-1]
        tag, _, line = process["log_next_id"].split("-")
        assert tag == identifier[:8] and process["log_first_id"] == (events[0].id if events else process["log_next_id"])
        assert int(line) - process["lines_dropped"] == len(events)
        ahead = server.get(f"/process_logs_streaming?id={identifier}&cursor={process['log_next_id']}")
        assert ahead.status_code == 400 and "ahead" in ahead.json()["error"]
        return int(line)

    def gate(name, command):
        return f"while [ ! -e {tmp_path}/{name} ]; do sleep 0.01; done; {command}; "

    identifier = server.start(gate("a", "seq 100") + gate("b", "seq 101 30000") + gate("c", "true"))["id"]
    assert ends() == 0
    for name, lines in (("a", 100), ("b", 30000)):
        (tmp_path / name).touch()
        wait_until(lambda: position(server, identifier)["next_line"] == lines, "the lines")
        assert ends() == lines
    (tmp_path / "c").touch()
    server.ended(identifier)
    assert ends() == 30000


@pytest.mark.host
def test_a_dead_runner_leaves_a_position_that_is_right(make_server, marker):
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    job = server.start(f"seq 20000; exec {marker.sleep}")
    wait_until(lambda: position(server, job["id"])["next_line"] == 20000, "all lines")
    before = position(server, job["id"])
    segment = max(server.run_dir.rglob(f"{job['id']}/log.*"))
    runner = proc_stat(job["pid"])[1]
    freeze(runner)
    with segment.open("ab") as file:
        file.write(b"event: log\ndata: {}\nid: torn\n")
    os.kill(runner, signal.SIGKILL)
    server.ended(job["id"])
    assert position(server, job["id"]) == before
    with EventStream(server, "GET", f"/process_logs_streaming?id={job['id']}&tail=1") as stream:
        event, complete = stream.events()
    assert (event.data["data"], event.id.split("-")[2], complete.name) == ("20000", "19999", "complete")
