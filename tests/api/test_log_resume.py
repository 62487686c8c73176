"""
GET /process_logs_streaming from anywhere: after an event, with the newest lines, without following. An event's id is
`<tag>-<offset>-<line>`, so the server can report to the byte and to the line what a reader has missed.
"""

import re
import signal
import threading

import pytest

from sandbox import DEADLINE, RETRY, EventStream, check_framing, parse_events, wait_until

COMPLETE = ("complete", {"message": "stream ended"})
RUNNING = ("complete", {"message": "stream ended", "running": True})
EVENT_ID = re.compile(r"([0-9a-f]{8})-(0|[1-9]\d*)-(0|[1-9]\d*)")


def open_logs(sandbox, identifier, query="", last=None):
    headers = None if last is None else {"Last-Event-ID": last}
    return EventStream(sandbox, "GET", f"/process_logs_streaming?id={identifier}{query}", headers=headers)


def whole(sandbox, identifier, query="", last=None):
    """All events of a stream that ends."""
    with open_logs(sandbox, identifier, query, last) as stream:
        raw = stream.read_all()
    assert stream.status == 200 and not stream.cut
    assert raw.startswith(RETRY) and raw.count(b"retry:") == 1
    check_framing(raw)
    return parse_events(raw)


def refused(sandbox, identifier, query="", last=None):
    """What a 400 says."""
    headers = {} if last is None else {"Last-Event-ID": last}
    answer = sandbox.get(f"/process_logs_streaming?id={identifier}{query}", headers=headers)
    assert answer.status_code == 400, (query, last, answer.status_code)
    assert answer.headers["Content-Type"].startswith("application/json")
    return answer.json()["error"]


def position(event):
    """(offset, line) of an event's id."""
    _, offset, line = EVENT_ID.fullmatch(event.id).groups()
    return int(offset), int(line)


def data(events):
    return [event.data["data"] for event in events if event.name == "log"]


def ended(sandbox, cmd):
    identifier = sandbox.start(cmd)["id"]
    sandbox.ended(identifier, 12 * DEADLINE)
    return identifier


def length(event):
    """How many bytes of the log an event of a plain line takes."""
    return len(f'id: {event.id}\nevent: log\ndata: {{"timestamp":"{event.data["timestamp"]}","stream":"{event.data["stream"]}",'
               f'"data":"{event.data["data"]}"}}\n\n')


# ---- ids ----


def test_ids_name_process_offset_and_line(sandbox):
    identifier = ended(sandbox, "seq 300; seq 200 >&2")
    events = whole(sandbox, identifier)[:-1]
    offset = 0
    for line, event in enumerate(events):
        assert event.id == f"{identifier[:8]}-{offset}-{line}"
        offset += length(event)
    assert len(events) == 500


@pytest.mark.host
def test_ids_go_on_through_restarts(server, tmp_path):
    """The daemons die again and again while the process writes: one row of ids, offsets and lines without a hole."""
    identifier = server.start(f"i=0; while [ ! -e {tmp_path}/stop ]; do i=$((i + 1)); echo $i; sleep 0.002; done")["id"]
    got, last = [], None
    for name in ("fcgi-app", "procd", "fcgi-app", "procd"):
        with open_logs(server, identifier, last=last) as stream:
            got += [stream.next() for _ in range(50)]
            old = server.kill_daemon(name, signal.SIGKILL)
            server.back(name, old)
            if name == "procd":  # a stream needs it to begin, and no longer
                got += [stream.next() for _ in range(50)]
            else:
                got += list(stream)
        last = got[-1].id
    (tmp_path / "stop").touch()
    got += whole(server, identifier, last=last)
    assert got.pop() == COMPLETE
    assert data(got) == [str(number) for number in range(1, len(got) + 1)]
    offset = 0
    for line, event in enumerate(got):
        assert position(event) == (offset, line)
        offset += length(event)
    assert got == whole(server, identifier)[:-1]


# ---- after an event ----


@pytest.mark.parametrize("by", ["header", "cursor"])
def test_resuming_after_every_event(sandbox, by):
    identifier = ended(sandbox, "seq 40; echo ü€ >&2; seq 41 60; printf 'end'")
    events = whole(sandbox, identifier)
    for index, event in enumerate(events[:-1]):
        arguments = {"last": event.id} if by == "header" else {"query": f"&cursor={event.id}"}
        resumed = whole(sandbox, identifier, **arguments)
        assert resumed == events[index + 1:]
        assert [one.id for one in resumed] == [one.id for one in events[index + 1:]]


def test_resuming_across_segments(make_server):
    """1 MiB in 16 segments; lines of all lengths, some longer than a segment."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    identifier = ended(server, "for i in $(seq 300); do head -c $((i * i % 3001)) /dev/zero | tr '\\0' x; echo; done; "
                               "head -c 100000 /dev/zero | tr '\\0' y; echo; seq 100")
    events = whole(server, identifier)
    assert len(events) == 402
    assert len(list(server.run_dir.rglob(f"{identifier}/log.*"))) > 4
    for index in (*range(0, 300, 7), *range(295, 305), 400):
        resumed = whole(server, identifier, last=events[index].id)
        assert resumed == events[index + 1:]


def test_a_live_process_is_resumed(sandbox, workdir):
    """A reader that leaves after each line and comes again misses nothing and gets nothing twice."""
    identifier = sandbox.start(f"for i in $(seq 100); do echo $i; sleep 0.003; done; while [ ! -e {workdir}/go ]; do sleep 0.01; done; echo end")["id"]
    got, last = [], None
    while len(got) < 100:
        with open_logs(sandbox, identifier, last=last) as stream:
            got += [stream.next() for _ in range(min(1 + len(got) % 3, 100 - len(got)))]
        last = got[-1].id
    assert data(got) == [str(number) for number in range(1, 101)]
    with open_logs(sandbox, identifier, f"&cursor={last}") as stream:
        sandbox.shell(f"touch {workdir}/go")
        assert data(stream.events()) == ["end"]


def test_the_header_goes_before_the_parameter(sandbox):
    """An EventSource that reconnects sends the id in the header, to the URL it was given."""
    identifier = ended(sandbox, "seq 10")
    events = whole(sandbox, identifier)
    for query in (f"&cursor={events[2].id}", "&tail=1", "&tail=0", "&cursor=nonsense", "&follow=1&tail=3"):
        assert whole(sandbox, identifier, query, last=events[6].id) == events[7:]
    assert whole(sandbox, identifier, f"&cursor={events[2].id}", last="") == events[3:]
    assert whole(sandbox, identifier, f"&cursor={events[2].id.replace('-', '%2D')}") == events[3:]


def test_empty_parameters_count_as_absent(sandbox):
    identifier = ended(sandbox, "seq 10")
    for query in ("&cursor=", "&cursor", "&tail=", "&tail", "&follow=", "&follow", "&cursor=&tail=&follow="):
        assert whole(sandbox, identifier, query) == whole(sandbox, identifier)


# ---- cursors that are none ----


def test_a_malformed_cursor(sandbox):
    identifier = ended(sandbox, "seq 10")
    good = whole(sandbox, identifier)[4].id
    for value in ("nonsense", "-1", "0", "7", "99999999999999999999999", "0x10", "1.5", good[:-2], good + "-1", good + "x", good.upper() + "X",
                  good.replace("-", "_"), good[8:], "-".join(["0" + part for part in good.split("-")]), "x" * 1000):
        assert refused(sandbox, identifier, last=value) == "Invalid Last-Event-ID: it is not an event id"
        assert refused(sandbox, identifier, f"&cursor={value}") == "Invalid cursor: it is not an event id"
    assert refused(sandbox, identifier, "&cursor=%00") == "cursor contains a NUL character"
    assert refused(sandbox, identifier, f"&cursor={good}%00") == "cursor contains a NUL character"
    assert "not an event id" in refused(sandbox, identifier, "&cursor=+")
    assert sandbox.get(f"/process_logs_streaming?id={identifier}&cursor=x", token=False).status_code == 401


def test_a_cursor_of_another_process(sandbox):
    one, other = ended(sandbox, "seq 10"), ended(sandbox, "seq 10")
    for event in whole(sandbox, other)[:-1]:
        assert refused(sandbox, one, last=event.id) == "Invalid Last-Event-ID: it belongs to another process"
        assert refused(sandbox, one, f"&cursor={event.id}") == "Invalid cursor: it belongs to another process"


def test_a_cursor_from_the_future(sandbox):
    running = sandbox.start("seq 10; sleep 86400")["id"]
    for identifier in (running, ended(sandbox, "seq 10"), ended(sandbox, "true")):
        events = whole(sandbox, identifier, "&follow=0")[:-1]
        end = sum(map(length, events))
        for offset in (end, end + 1, end + 100_000_000, 2**63 - 1, 2**63, 2**64 - 1):
            assert refused(sandbox, identifier, last=f"{identifier[:8]}-{offset}-{len(events)}") == "Invalid Last-Event-ID: it is ahead of the log"
        assert "ahead" in refused(sandbox, identifier, f"&cursor={identifier[:8]}-{end}-0")


def test_a_cursor_that_names_no_event(sandbox):
    identifier = ended(sandbox, "seq 10; echo 'id: 7'")
    tag = identifier[:8]
    for event in whole(sandbox, identifier)[:-1]:
        offset, line = position(event)
        for wrong in (f"{tag}-{offset + 1}-{line}", f"{tag}-{offset}-{line + 1}", f"{tag}-{offset}-{line + 10}"):
            assert refused(sandbox, identifier, last=wrong) == "Invalid Last-Event-ID: no event of the log has this id", wrong


# ---- what retention has removed ----


LINES = 40_000


def fill(server, gate=None, lines=LINES):
    """A process of numbered lines, far more than a log of 1 MiB keeps."""
    wait = f"while [ ! -e {gate} ]; do sleep 0.01; done; " if gate else ""
    return server.start(f"{wait}seq {lines}")["id"]


def check_gaps(events, seen=None):
    """Every gap event reports exactly what is missing between its neighbours; `seen` is the event before the first."""
    gaps = 0
    for index, event in enumerate(events):
        if event.name == "gap":
            gaps += 1
            assert list(event.data) == ["missed_bytes", "missed_lines", "next_id"] and event.id is None
            after = events[index + 1]
            assert after.name == "log" and event.data["next_id"] == after.id
            begin, line = position(seen)
            end = begin + (length(seen) if index > 0 else 0)
            assert event.data["missed_bytes"] == position(after)[0] - end
            assert event.data["missed_lines"] == position(after)[1] - line - 1 == int(after.data["data"]) - int(seen.data["data"]) - 1 > 0
        elif event.name == "log":
            if seen is not None and events[index - 1].name != "gap":
                assert position(event) == (position(seen)[0] + length(seen), position(seen)[1] + 1)
            seen = event
    return gaps


@pytest.mark.host
def test_a_cursor_whose_event_is_gone(make_server, tmp_path):
    """The gap counts from the cursor's own offset, since the event's length is gone with it."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    identifier = fill(server, tmp_path / "go")
    with server.logs(identifier) as stream:
        (tmp_path / "go").touch()
        early = [stream.next() for _ in range(300)]
        server.ended(identifier, 12 * DEADLINE)
    kept = whole(server, identifier, "&tail=1000000")
    assert data(kept)[-1] == str(LINES) and len(kept) < LINES
    oldest = kept[0]
    for event in (early[0], early[1], early[150], early[299]):
        for arguments in ({"last": event.id}, {"query": f"&cursor={event.id}"}, {"query": f"&cursor={event.id}&follow=0"}):
            gap, *rest = whole(server, identifier, **arguments)
            assert gap == ("gap", {"missed_bytes": position(oldest)[0] - position(event)[0],
                                   "missed_lines": position(oldest)[1] - position(event)[1] - 1, "next_id": oldest.id})
            assert rest == kept
            assert whole(server, identifier, last=gap.data["next_id"]) == kept[1:]
    tag, line = identifier[:8], position(oldest)[1]
    assert "no event" in refused(server, identifier, last=f"{tag}-0-{line}")
    assert "no event" in refused(server, identifier, last=f"{tag}-0-{line + 100}")
    assert whole(server, identifier, last=f"{tag}-{position(oldest)[0] - 1}-{line - 1}") == kept  # nothing is missing


@pytest.mark.host
def test_attached_readers_that_are_overtaken(make_server, tmp_path):
    """Two that do not read while a log of 1 MiB takes 15 MB: each gets a gap event of exactly what it missed."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    identifier = fill(server, tmp_path / "go", 1_000_000)
    with server.logs(identifier) as one, server.logs(identifier) as other:
        (tmp_path / "go").touch()
        server.ended(identifier, 12 * DEADLINE)
        for stream in (one, other):
            events = stream.events()
            assert events[-1] == COMPLETE and data(events)[0] == "1" and data(events)[-1] == "1000000"
            assert check_gaps(events) >= 1
            missed = sum(event.data["missed_lines"] for event in events if event.name == "gap")
            assert len(data(events)) + missed == 1_000_000


@pytest.mark.host
def test_resuming_while_the_log_rotates(make_server, tmp_path):
    """Readers that come back at any moment of a quick process: what they get and what they missed is all there was."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    identifier = fill(server, tmp_path / "go", 1_000_000)
    (tmp_path / "go").touch()
    failures = []

    def read(number):
        try:
            seen, total, done = None, 0, False
            while not done:
                with open_logs(server, identifier, last=seen.id if seen else None) as stream:
                    events = []
                    for event in stream:
                        events.append(event)
                        if event.name == "log" and len(events) > 500 * (number + 1):
                            break
                if seen is None:
                    total = position(events[0])[1]
                assert events
                check_gaps(events, seen)
                total += len(data(events)) + sum(event.data["missed_lines"] for event in events if event.name == "gap")
                done = events[-1] == COMPLETE
                seen = next(event for event in reversed([seen, *events]) if event is not None and event.name == "log")
            assert total == 1_000_000
        except BaseException as failure:
            failures.append(failure)
            raise

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(12 * DEADLINE)
    assert not failures and not any(thread.is_alive() for thread in threads)


# ---- the newest lines ----


def test_tail(sandbox):
    identifier = ended(sandbox, "seq 500")
    events = whole(sandbox, identifier)
    for count in (0, 1, 2, 10, 499, 500, 501, 10**9, 10**30, "007"):
        assert whole(sandbox, identifier, f"&tail={count}") == events[max(0, 500 - int(count)):]


def test_tail_of_more_than_the_default(sandbox):
    identifier = ended(sandbox, "seq 25000")
    for count in (9999, 10001, 24999, 25000, 100000):
        assert data(whole(sandbox, identifier, f"&tail={count}")) == [str(number) for number in range(max(1, 25001 - count), 25001)]


def test_tail_of_a_running_process(sandbox, workdir):
    identifier = sandbox.start(f"seq 100; while [ ! -e {workdir}/go ]; do sleep 0.01; done; echo after; echo end >&2")["id"]
    wait_until(lambda: len(data(whole(sandbox, identifier, "&follow=0"))) == 100, "the history")
    with open_logs(sandbox, identifier, "&tail=0") as none, open_logs(sandbox, identifier, "&tail=3") as three:
        assert [three.next().data["data"] for _ in range(3)] == ["98", "99", "100"]
        sandbox.shell(f"touch {workdir}/go")
        assert sorted(data(none.events())) == sorted(data(three.events())) == ["after", "end"]


def test_a_tail_that_is_none(sandbox):
    identifier = ended(sandbox, "seq 10")
    event = whole(sandbox, identifier)[3]
    for value in ("-1", "x", "1x", "1.5", "+1", "%2B1", "0x1", "1e3", "all", "-0"):
        assert refused(sandbox, identifier, f"&tail={value}") == "Invalid tail: it must be a number of lines"
    for value in ("%00", "1%00"):
        assert refused(sandbox, identifier, f"&tail={value}") == "tail contains a NUL character"
    for query in (f"&cursor={event.id}&tail=1", f"&tail=1&cursor={event.id}", "&tail=x&cursor=x"):
        assert refused(sandbox, identifier, query) == "cursor and tail exclude each other"


# ---- without following ----


def test_without_following(sandbox, workdir):
    identifier = sandbox.start(f"seq 5; while [ ! -e {workdir}/go ]; do sleep 0.01; done; seq 6 9")["id"]
    wait_until(lambda: len(whole(sandbox, identifier, "&follow=0")) == 6, "the history")
    events = whole(sandbox, identifier, "&follow=0")
    assert data(events) == list("12345") and events[-1] == RUNNING
    assert whole(sandbox, identifier, "&follow=0&tail=2") == events[3:]
    assert whole(sandbox, identifier, "&follow=0&tail=0") == [RUNNING]
    assert whole(sandbox, identifier, f"&follow=0&cursor={events[1].id}") == events[2:]
    assert whole(sandbox, identifier, "&follow=0", last=events[4].id) == [RUNNING]
    with open_logs(sandbox, identifier, "&follow=1") as stream:
        sandbox.shell(f"touch {workdir}/go")
        events = stream.events()
    assert data(events) == list("123456789") and events[-1] == COMPLETE
    assert whole(sandbox, identifier, "&follow=0") == whole(sandbox, identifier, "&follow=1") == events
    assert whole(sandbox, identifier, "&follow=0&tail=0") == [COMPLETE]


def test_without_following_status_and_log_agree(sandbox):
    """Once the list says that it has ended the stream does, too."""
    for _ in range(20):
        assert whole(sandbox, ended(sandbox, "echo x"), "&follow=0")[-1] == COMPLETE


def test_without_following_a_process_that_never_rests(sandbox, marker):
    """It ends, however quickly the log grows."""
    identifier = sandbox.start(f"yes {marker.text}")["id"]
    for _ in range(5):
        events = whole(sandbox, identifier, "&follow=0")
        assert events[-1] == RUNNING and set(data(events)) <= {marker.text}
    sandbox.kill(identifier)


def test_follow_is_yes_or_no(sandbox):
    identifier = ended(sandbox, "seq 10")
    for value in ("2", "-1", "True", "falsey", "no", "00", "%00", "0%00", "+"):
        assert refused(sandbox, identifier, f"&follow={value}") == "Invalid follow: it must be true, false, 1 or 0"
    for value in ("1", "true", "0", "false", "%30", "", "t%72ue"):
        assert data(whole(sandbox, identifier, f"&follow={value}")) == [str(number) for number in range(1, 11)]
    running = sandbox.start("echo a; sleep 86400")["id"]
    with sandbox.logs(running) as stream:
        assert stream.next().data["data"] == "a"
    assert whole(sandbox, running, "&follow=false")[-1] == RUNNING


def test_wrong_parameters_of_an_unknown_process(sandbox):
    assert refused(sandbox, "nonsense", "&cursor=x") and refused(sandbox, "nonsense", "&tail=x") and refused(sandbox, "nonsense", "&follow=x")
    for query in ("", "&cursor=00000000-0-0", "&tail=0", "&follow=0"):
        with open_logs(sandbox, "nonsense", query) as stream:
            assert stream.events() == [("error", {"error": "process not found: nonsense", "error_code": "not_found"})]
        assert stream.status == 200 and b"retry" not in stream.raw
