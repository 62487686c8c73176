"""GET /process_logs_streaming: history and live as one stream, the same for every reader."""

import datetime
import re
import threading

import pytest

from sandbox import DEADLINE, EventStream, check_framing, descriptors, in_threads, parse_events, wait_until

COMPLETE = ("complete", {"message": "stream ended"})
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


def gated(workdir, *commands):
    """A command that runs each of `commands` when the file of its number (0, 1, ...) is there."""
    return "; ".join(f"while [ ! -e {workdir}/{number} ]; do sleep 0.01; done; {command}" for number, command in enumerate(commands))


def open_gate(sandbox, workdir, number):
    sandbox.shell(f"touch {workdir}/{number}")


def read_raw(stream):
    raw = stream.read_all()
    assert not stream.cut
    return raw


def data(events):
    return [event.data["data"] for event in events if event.name == "log"]


def test_a_finished_log(sandbox):
    identifier = sandbox.start("echo Starting application...; echo 'Warning: debug mode' >&2; printf tail")["id"]
    sandbox.ended(identifier)
    with sandbox.logs(identifier) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert "no-cache" in stream.headers["Cache-Control"] or "no-store" in stream.headers["Cache-Control"]
        raw = stream.read_all()
    check_framing(raw)
    events = parse_events(raw)
    assert [event.name for event in events] == ["log", "log", "log", "complete"] and events[-1] == COMPLETE
    for event in events[:-1]:
        assert list(event.data) == ["timestamp", "stream", "data"]
    by_stream = {(event.data["stream"], event.data["data"]) for event in events[:-1]}
    assert by_stream == {("stdout", "Starting application..."), ("stderr", "Warning: debug mode"), ("stdout", "tail")}


def test_timestamps(sandbox):
    before = datetime.datetime.now(datetime.timezone.utc)
    identifier = sandbox.start("seq 1000")["id"]
    with sandbox.logs(identifier) as stream:
        stamps = [event.data["timestamp"] for event in stream.events()[:-1]]
    assert len(stamps) == 1000 and all(TIMESTAMP.fullmatch(stamp) for stamp in stamps) and stamps == sorted(stamps)
    first = datetime.datetime.fromisoformat(stamps[0][:26] + "+00:00")
    assert abs(first - before) < datetime.timedelta(hours=1)


def test_both_streams_in_the_order_written(sandbox, workdir):
    """Each line is written when the one before has been read; the history then tells the same order."""
    expected = [("stdout", "0"), ("stderr", "1"), ("stderr", "2"), ("stdout", "3"), ("stderr", "4"), ("stdout", "5")]
    commands = [f"echo {text}" + (" >&2" if name == "stderr" else "") for name, text in expected]
    identifier = sandbox.start(gated(workdir, *commands))["id"]
    with sandbox.logs(identifier) as stream:
        for number, line in enumerate(expected):
            open_gate(sandbox, workdir, number)
            event = stream.next()
            assert (event.data["stream"], event.data["data"]) == line
        assert stream.events() == [COMPLETE]
    with sandbox.logs(identifier) as stream:
        assert [(event.data["stream"], event.data["data"]) for event in stream.events()[:-1]] == expected


def test_each_line_arrives_while_the_process_waits(sandbox, workdir):
    identifier = sandbox.start(gated(workdir, "echo a", "printf 'b\\nc\\n'", "seq 3000; echo d", "printf end"))["id"]
    with sandbox.logs(identifier) as stream:
        open_gate(sandbox, workdir, 0)
        assert stream.next().data["data"] == "a"
        open_gate(sandbox, workdir, 1)
        assert [stream.next().data["data"] for _ in range(2)] == ["b", "c"]
        open_gate(sandbox, workdir, 2)
        assert [stream.next().data["data"] for _ in range(3001)] == [*map(str, range(1, 3001)), "d"]
        open_gate(sandbox, workdir, 3)
        assert data(stream.events()) == ["end"]


@pytest.mark.parametrize("printed, expected", [
    ("a", ["a"]), ("a\\n\\nb\\n", ["a", "", "b"]), ("a\\r\\nb\\r\\r\\n\\r\\n", ["a", "b", ""]), ("a\\rb", ["a\rb"]), ("", []),
    ("\\000\\n", ["\0"]), ("\\377\\n", ["\ufffd"]), ("\\342\\202\\254", ["€"]), ('"\\\\\\t', ['"\\\t']), ("data: x\\n\\nevent: y\\n", ["data: x", "", "event: y"]),
])
def test_lines(sandbox, printed, expected):
    for redirect in ("", ">&2"):
        identifier = sandbox.start(f"printf '{printed}' {redirect}")["id"]
        assert sandbox.lines(identifier) == expected


def test_sequences_are_never_split(sandbox, workdir):
    identifier = sandbox.start(gated(workdir, "printf '\\342'", "printf '\\202'", "printf '\\254\\n'") + "; printf '\\342'")["id"]
    with sandbox.logs(identifier) as stream:
        for number in range(3):
            open_gate(sandbox, workdir, number)
            sandbox.shell("true")
        assert data(stream.events()) == ["€", "\ufffd"]


# ---- many readers ----


def test_50_watchers_of_a_burst(sandbox, workdir):
    """8,000 lines; some attach before, some while, some after: each gets every line once, and the same bytes."""
    identifier = sandbox.start(gated(workdir, "seq 8000"))["id"]
    early = [sandbox.logs(identifier) for _ in range(20)]
    answers = [None] * 50

    def watch(number):
        stream = early[number] if number < 20 else sandbox.logs(identifier)
        with stream:
            answers[number] = read_raw(stream)

    threads = [threading.Thread(target=watch, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    open_gate(sandbox, workdir, 0)
    threads += [threading.Thread(target=watch, args=(number,)) for number in range(20, 50)]
    for thread in threads[20:]:
        thread.start()
    for thread in threads:
        thread.join(12 * DEADLINE)
    check_framing(answers[0])
    assert data(parse_events(answers[0])) == [str(number) for number in range(1, 8001)]
    assert all(answer == answers[0] for answer in answers)
    assert parse_events(answers[0])[-1] == COMPLETE


def test_history_and_live_join(sandbox, workdir):
    """Readers that come at many moments of a steady output."""
    identifier = sandbox.start("i=0; while [ $i -lt 3000 ]; do i=$((i + 1)); echo $i; [ $((i % 100)) = 0 ] && sleep 0.01; done; true")["id"]
    answers = []

    def watch():
        with sandbox.logs(identifier) as stream:
            answers.append(read_raw(stream))

    threads = []
    while sandbox.status(identifier) == "running" and len(threads) < 40:
        threads.append(threading.Thread(target=watch))
        threads[-1].start()
    for thread in threads:
        thread.join(12 * DEADLINE)
    assert len(answers) == len(threads) > 1 and len(set(answers)) == 1
    assert data(parse_events(answers[0])) == [str(number) for number in range(1, 3001)]


def test_a_slow_watcher_loses_nothing_and_harms_nobody(sandbox, workdir):
    """20 MB that nobody reads on one connection, far more than the newest 10,000 lines."""
    identifier = sandbox.start(gated(workdir, "seq 200000"))["id"]
    with sandbox.logs(identifier) as slow:
        with sandbox.logs(identifier) as quick:
            open_gate(sandbox, workdir, 0)
            raw = read_raw(quick)
        assert sandbox.status(identifier) == "completed"
        assert raw.count(b"\nevent: log\n") == 200000
        assert read_raw(slow) == raw
    assert re.findall(rb'"data":"(\d+)"', raw) == [b"%d" % number for number in range(1, 200001)]


def test_a_watcher_that_leaves_harms_nobody(sandbox, workdir):
    identifier = sandbox.start(gated(workdir, "seq 5000"))["id"]
    streams = [sandbox.logs(identifier) for _ in range(30)]
    open_gate(sandbox, workdir, 0)
    for number, stream in enumerate(streams[1:]):
        stream.close(reset=bool(number % 2))
    assert data(streams[0].events()) == [str(number) for number in range(1, 5001)]
    streams[0].close()


@pytest.mark.host
def test_watchers_leave_no_descriptor_behind(sandbox):
    """Sockets aside: nginx keeps some connections to fcgi-app open for later, but not without end."""
    identifier = sandbox.start("echo x; sleep 86400")["id"]
    fcgi_app = sandbox.daemon("fcgi-app")

    def watch(_):
        for _ in range(5):
            with sandbox.logs(identifier) as stream:
                stream.next()

    def count():
        sockets = [link.startswith("socket:") for link in descriptors(fcgi_app)]
        return sockets.count(False), sockets.count(True)

    before, _ = count()
    for _ in range(10):
        in_threads(30, watch)
    wait_until(lambda: count()[0] <= before, f"no more than {before} descriptors")
    assert count()[1] <= 200


# ---- large ----


def test_lines_of_3_megabytes(sandbox):
    identifier = sandbox.start("for i in 1 2 3; do head -c 3000000 /dev/zero | tr '\\0' $i; echo; echo short $i >&2; done")["id"]
    with sandbox.logs(identifier) as stream:
        events = stream.events()
    assert events[-1] == COMPLETE
    for number in "123":
        assert data(events).count(number * 3000000) == 1
    assert [line for line in data(events) if len(line) < 100] == ["short 1", "short 2", "short 3"]
    assert sandbox.status(identifier) == "completed"


def test_a_long_line_does_not_block_the_other_stream(sandbox, workdir):
    identifier = sandbox.start(gated(workdir, "head -c 3000000 /dev/zero | tr '\\0' x; echo meanwhile >&2", "echo"))["id"]
    with sandbox.logs(identifier) as stream:
        open_gate(sandbox, workdir, 0)
        assert stream.next().data["data"] == "meanwhile"
        open_gate(sandbox, workdir, 1)
        assert data(stream.events()) == ["x" * 3000000]


# ---- retention ----


def test_the_newest_10_000_lines(sandbox):
    identifier = sandbox.start("seq 25000")["id"]
    sandbox.ended(identifier, 4 * DEADLINE)
    expected = [str(number) for number in range(15001, 25001)]
    assert sandbox.lines(identifier) == expected
    assert sandbox.lines(identifier) == expected


def test_exactly_10_000_lines_and_one_more(sandbox):
    for count in (9999, 10000, 10001):
        identifier = sandbox.start(f"seq {count}")["id"]
        sandbox.ended(identifier)
        assert sandbox.lines(identifier) == [str(number) for number in range(max(1, count - 9999), count + 1)]


def test_a_running_process_of_many_lines(sandbox, workdir):
    identifier = sandbox.start("seq 25000; " + gated(workdir, "echo after"))["id"]

    def lines_up_to_the_last():
        with sandbox.logs(identifier) as stream:
            count = 1
            while stream.next().data["data"] != "25000":
                count += 1
        return count

    lines_up_to_the_last()  # now all of them are in the log
    assert lines_up_to_the_last() == 10000
    with sandbox.logs(identifier) as stream:
        open_gate(sandbox, workdir, 0)
        lines = data(stream.events())
    assert lines[-1] == "after" and lines[-2] == "25000" and len(lines) in (10000, 10001)
    assert lines[:-1] == [str(number) for number in range(25002 - len(lines), 25001)]


@pytest.mark.host
def test_the_limit_in_bytes(make_server):
    """A limit reached before 10,000 lines are: what is kept is the newest, whole and without a hole."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    identifier = server.start("i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); printf '%05d%995s\\n' $i x; done")["id"]
    server.ended(identifier, 4 * DEADLINE)
    numbers = [int(line[:5]) for line in server.lines(identifier)]
    assert numbers == list(range(numbers[0], 5001))
    assert 300 <= len(numbers) <= 1100
    size = sum(path.stat().st_size for path in server.run_dir.rglob("log.*"))
    assert size <= (1 << 20) + 65536


@pytest.mark.host
def test_a_reader_that_missed_something_is_told(make_server, tmp_path):
    """Past SANDBOX_LOG_MAX a reader that does not read loses lines, and gets a gap event; what follows is whole."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    identifier = server.start(gated(tmp_path, "seq 1000000"))["id"]
    with server.logs(identifier) as stream:
        open_gate(server, tmp_path, 0)
        server.ended(identifier, 12 * DEADLINE)
        events = stream.events()
    assert events[-1] == COMPLETE
    gaps = [event for event in events if event.name == "gap"]
    assert gaps and all(gap.data["missed_bytes"] > 0 for gap in gaps)
    numbers = [int(event.data["data"]) for event in events if event.name == "log"]
    assert numbers[0] == 1 and numbers[-1] == 1000000 and numbers == sorted(set(numbers))
    jumps = sum(1 for one, next_one in zip(numbers, numbers[1:]) if next_one != one + 1)
    assert jumps == len(gaps)


# ---- the same every time, and from anywhere ----


def test_a_finished_log_reads_the_same_every_time(sandbox):
    identifier = sandbox.start("seq 2000 & seq 2000 >&2; wait; printf 'ü\\000\\377'")["id"]
    sandbox.ended(identifier)
    answers = set()
    for _ in range(5):
        with sandbox.logs(identifier) as stream:
            answers.add(read_raw(stream))
    assert len(answers) == 1


def test_last_event_id_resumes(sandbox):
    identifier = sandbox.start("seq 500; echo ü€; seq 501 1000")["id"]
    with sandbox.logs(identifier) as stream:
        events = stream.events()[:-1]
    identifiers = [event.id for event in events]
    assert len(set(identifiers)) == 1001 and None not in identifiers
    for index in (0, 1, 499, 500, 501, 999, 1000):
        with sandbox.logs(identifier, headers={"Last-Event-ID": identifiers[index]}) as stream:
            resumed = stream.events()
        assert resumed == [*events[index + 1:], COMPLETE]
        assert [event.id for event in resumed[:-1]] == identifiers[index + 1:]


def test_an_empty_last_event_id_is_none(sandbox):
    identifier = sandbox.start("seq 10")["id"]
    sandbox.ended(identifier)
    with sandbox.logs(identifier, headers={"Last-Event-ID": ""}) as stream:
        raw = stream.read_all()
    check_framing(raw)
    assert stream.status == 200 and len(parse_events(raw)) == 11 and parse_events(raw)[-1] == COMPLETE


def test_every_stream_begins_with_the_time_to_reconnect(sandbox):
    """Once, in the block of the first event: some clients make an event of a block without data."""
    identifier = sandbox.start("seq 10")["id"]
    sandbox.ended(identifier)
    with sandbox.logs(identifier) as stream:
        raw = read_raw(stream)
    assert raw.startswith(b"retry: 1000\nevent: log\n") and raw.count(b"retry:") == 1


# ---- ends and errors ----


def test_complete_comes_with_a_kill(sandbox, marker):
    identifier = sandbox.start(f"echo before; {marker.sleep}")["id"]
    with sandbox.logs(identifier) as stream:
        assert stream.next().data["data"] == "before"
        sandbox.kill(identifier)
        assert stream.events() == [COMPLETE]
    assert sandbox.lines(identifier) == ["before"]


def test_complete_comes_though_a_child_holds_the_pipe(sandbox, marker):
    identifier = sandbox.start(f"echo before; setsid {marker.sleep} & exit 0")["id"]
    assert sandbox.lines(identifier) == ["before"]
    assert sandbox.status(identifier) == "completed"


def test_status_and_log_agree(sandbox):
    """When the stream has ended the list says so too."""
    for _ in range(20):
        identifier = sandbox.start("echo x")["id"]
        sandbox.lines(identifier)
        assert sandbox.status(identifier) == "completed"


def test_without_an_id(sandbox):
    for query in ("", "?", "?id=", "?id", "?ID=x", "?x=id", "?idd=x"):
        answer = sandbox.get("/process_logs_streaming" + query)
        assert answer.status_code == 400 and answer.json()["error"], query


@pytest.mark.parametrize("query, identifier", [
    ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"), ("nonsense", "nonsense"),
    ("..%2f..", "../.."), ("a+b", "a b"), ("a%20b%22", 'a b"'), ("%C3%BC", "ü"), ("../x", "../x"), ("%0Adata:%20x", "\ndata: x"),
])
def test_an_unknown_id(sandbox, query, identifier):
    with EventStream(sandbox, "GET", f"/process_logs_streaming?id={query}") as stream:
        raw = stream.read_all()
    assert stream.status == 200 and stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    check_framing(raw)
    assert parse_events(raw) == [("error", {"error": f"process not found: {identifier}", "error_code": "not_found"})]


def test_the_id_among_other_parameters(sandbox):
    identifier = sandbox.start("echo x")["id"]
    for query in (f"?id={identifier}&x=1", f"?x=1&id={identifier}", f"?follow&id={identifier}&", f"?id={identifier.replace('-', '%2D')}"):
        with EventStream(sandbox, "GET", "/process_logs_streaming" + query) as stream:
            assert data(stream.events()) == ["x"], query


@pytest.mark.host
def test_silence_is_broken_by_comments(make_server, tmp_path):
    """Also before the first event, between it and how soon to reconnect."""
    server = make_server({"SANDBOX_STREAM_KEEPALIVE": "1s"})
    identifier = server.start(gated(tmp_path, "echo one", "echo two"))["id"]
    with server.logs(identifier) as stream:
        for count in (2, 4):
            while stream.raw.count(b"\n:") < count:
                assert stream.read_some()
            (tmp_path / str(count // 2 - 1)).touch()
            assert stream.next().name == "log"
        assert stream.events() == [COMPLETE]
    check_framing(bytes(stream.raw))
    assert re.match(rb"retry: 1000\n(:keepalive\n){2,}event: log\ndata: .*\nid: .*-0-0\n\n(:keepalive\n){2,}event: log\n", stream.raw)
