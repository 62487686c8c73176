"""POST /run_streaming: each line is an event at once, and the last event is the end."""

import concurrent.futures
import json
import re

import pytest

from sandbox import BIG_TIMEOUT, EventStream, check_framing, descriptors, http_request, in_threads, parse_events, wait_until

COMPLETE = ("complete", {"code": 0, "error": False})
# The same byte for byte, except for the figures of the end.
END_BYTES = re.compile(rb'event: complete\ndata: \{"code":0,"error":false,"reason":"exit"(?:,"[a-z_]+":\d+)*\}\nid: (\d+)\n\n')


def output(stream, *lines):
    return [("output", {"stream": stream, "data": line}) for line in lines]


def events_of(sandbox, cmd, **fields):
    with sandbox.stream(cmd, **fields) as stream:
        raw = stream.read_all()
    assert not stream.cut
    check_framing(raw)
    return parse_events(raw)


def lines(events, name):
    return [event.data["data"] for event in events if event.name == "output" and event.data["stream"] == name]


def test_the_stream_of_the_document(sandbox, workdir):
    """Byte for byte, once the two streams are put in order by waiting."""
    command = f"echo line 1; while [ ! -e {workdir}/go ]; do sleep 0.01; done; echo warning message >&2"
    with sandbox.stream(command, cwd="/tmp", env={"VAR_NAME": "value"}) as stream:
        assert stream.status == 200
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert "no-cache" in stream.headers["Cache-Control"] or "no-store" in stream.headers["Cache-Control"]
        assert stream.headers["Content-Length"] is None
        assert stream.next() == output("stdout", "line 1")[0]
        sandbox.shell(f"touch {workdir}/go")
        assert stream.events() == [*output("stderr", "warning message"), COMPLETE]
    before_the_end, mark, end = bytes(stream.raw).rpartition(b"event: complete")
    assert before_the_end == (
        b'event: output\ndata: {"stream":"stdout","data":"line 1"}\nid: 0\n\n'
        b'event: output\ndata: {"stream":"stderr","data":"warning message"}\nid: 1\n\n')
    assert END_BYTES.fullmatch(mark + end).group(1) == b"2"


def test_events_are_numbered(sandbox):
    """From 0 in every stream, whatever the event; long lines are rendered elsewhere than short ones."""
    for command in ("seq 1 1500; echo >&2; head -c 200000 /dev/zero | tr '\\0' x; seq 3 >&2; exit 3", "true", "kill -9 $$"):
        events = events_of(sandbox, command)
        assert events[-1].name == "complete"
        assert [event.id for event in events] == [str(number) for number in range(len(events))]
    assert len(events_of(sandbox, "seq 1 1500")) == 1501


@pytest.mark.parametrize("code", [1, 3, 127, 255])
def test_exit_codes(sandbox, code):
    assert events_of(sandbox, f"exit {code}") == [("complete", {"code": code, "error": True})]


def test_a_signal(sandbox):
    *before, last = events_of(sandbox, "echo x; kill -KILL $$")
    assert before == output("stdout", "x")
    assert last.name == "complete" and (last.data["code"], last.data["error"]) == (-1, True)


@pytest.mark.parametrize("printed, expected", [
    ("a\\n", ["a"]), ("a", ["a"]), ("a\\nb", ["a", "b"]), ("", []), ("\\n", [""]), ("\\n\\n", ["", ""]), ("a\\n\\nb\\n", ["a", "", "b"]),
    ("a\\r\\nb\\r\\n", ["a", "b"]), ("\\r\\n", [""]), ("a\\r\\r\\n", ["a"]), ("a\\rb\\n", ["a\rb"]), ("a\\r", ["a"]), ("\\ra\\n", ["\ra"]),
    ("a\\r\\nb\\nc", ["a", "b", "c"]), (" a \\t\\n", [" a \t"]), ("\\r", [""]),
])
def test_line_endings(sandbox, printed, expected):
    assert events_of(sandbox, f"printf '{printed}'") == [*output("stdout", *expected), COMPLETE]
    assert events_of(sandbox, f"printf '{printed}' >&2") == [*output("stderr", *expected), COMPLETE]


def test_bytes(sandbox):
    for octal, text in (("\\000", "\0"), ("a\\000b", "a\0b"), ("\\377", "\ufffd"), ("\\342\\202\\254", "€"), ("\\303(", "\ufffd("),
                        ("\\360\\237\\230\\200", "😀"), ('"\\\\\\b\\t\\033', '"\\\b\t\x1b'), ("\\342\\200\\250", "\u2028")):
        assert events_of(sandbox, f"printf '{octal}\\n'") == [*output("stdout", text), COMPLETE], octal


def test_text_that_looks_like_events(sandbox):
    text = 'event: complete\ndata: {"code":0,"error":false}\n\nid: 7\n:comment\ndata: x'
    events = events_of(sandbox, "printf %s \"$TEXT\"", env={"TEXT": text})
    assert events == [*output("stdout", *text.split("\n")), COMPLETE]


@pytest.mark.parametrize("name, redirect", [("stdout", ""), ("stderr", ">&2")])
def test_each_line_arrives_while_the_command_waits(sandbox, workdir, name, redirect):
    """The command writes its next line only when the client has had the one before."""
    command = f"for i in 1 2 3 4 5; do echo line $i {redirect}; while [ ! -e {workdir}/$i ]; do sleep 0.01; done; done"
    with sandbox.stream(command) as stream:
        for number in range(1, 6):
            assert stream.next() == output(name, f"line {number}")[0]
            sandbox.shell(f"touch {workdir}/{number}")
        assert stream.events() == [COMPLETE]


def test_a_line_after_thousands_arrives_too(sandbox, workdir):
    command = f"seq 5000; while [ ! -e {workdir}/go ]; do sleep 0.01; done"
    with sandbox.stream(command) as stream:
        for number in range(1, 5001):
            assert stream.next() == output("stdout", str(number))[0]
        sandbox.shell(f"touch {workdir}/go")
        assert stream.events() == [COMPLETE]


def test_the_answer_begins_before_the_first_line(sandbox, marker):
    with sandbox.stream(marker.sleep) as stream:
        assert stream.status == 200
    marker.gone(sandbox)


def test_sequences_are_never_split(sandbox, workdir):
    """A character whose bytes are written apart, and long lines of such characters at every offset."""
    command = f"printf '\\342'; touch {workdir}/first; while [ ! -e {workdir}/go ]; do sleep 0.01; done; printf '\\202\\254\\n'"
    with sandbox.stream(command) as stream:
        wait_until(lambda: sandbox.run(f"test -e {workdir}/first")["code"] == 0, "the first byte")
        sandbox.shell(f"touch {workdir}/go")
        assert stream.events() == [*output("stdout", "€"), COMPLETE]
    for shift in range(4):
        text = "x" * shift + "€😀ü" * 30_000
        script = f"import sys; sys.stdout.buffer.write(b'x' * {shift} + '€😀ü'.encode() * 30000)"
        assert events_of(sandbox, f"/usr/bin/python3 -c \"{script}\"") == [*output("stdout", text), COMPLETE]


def test_100_000_lines_in_order(sandbox):
    events = events_of(sandbox, "seq 100000; echo last >&2")
    assert lines(events, "stdout") == [str(number) for number in range(1, 100001)]
    assert lines(events, "stderr") == ["last"] and events[-1] == COMPLETE


def test_both_streams_at_once_each_in_order(sandbox):
    events = events_of(sandbox, "seq 20000 & seq 20000 >&2; wait")
    expected = [str(number) for number in range(1, 20001)]
    assert lines(events, "stdout") == expected and lines(events, "stderr") == expected and events[-1] == COMPLETE


def test_half_a_line_while_the_other_stream_fills(sandbox):
    events = events_of(sandbox, "printf half; head -c 400000 /dev/zero | tr '\\0' 'e' | fold -w 999 >&2; echo ' whole'")
    assert lines(events, "stdout") == ["half whole"]
    assert "".join(lines(events, "stderr")) == "e" * 400000
    events = events_of(sandbox, "printf half; yes | head -c 300000 >&2; printf ' a line'; head -c 300000 /dev/zero | tr '\\0' x")
    assert lines(events, "stdout") == ["half a line" + "x" * 300000] and len(lines(events, "stderr")) == 150000


@pytest.mark.slow
def test_a_line_of_100_megabytes(sandbox):
    with sandbox.stream("head -c 104857600 /dev/zero | tr '\\0' x; echo; echo after", timeout=BIG_TIMEOUT) as stream:
        events = stream.events()
    assert len(events[0].data["data"]) == 104857600 and set(events[0].data["data"]) == {"x"}
    assert events[1:] == [*output("stdout", "after"), COMPLETE]


def test_a_reader_that_pauses_gets_everything(sandbox, workdir):
    """20 MB are written, and the client reads only once the command is blocked or done."""
    with sandbox.stream(f"touch {workdir}/begun; seq 2500000; echo end") as stream:
        wait_until(lambda: sandbox.run(f"test -e {workdir}/begun")["code"] == 0, "the command")
        for _ in range(20):
            sandbox.shell("true")
        raw = stream.read_all()
    check_framing(raw[-1000:][raw[-1000:].index(b"\n\n") + 2:])
    assert raw.count(b"event: output\n") == 2500001
    before_the_end, mark, end = raw.rpartition(b"event: complete")
    assert before_the_end.endswith(b'{"stream":"stdout","data":"2500000"}\nid: 2499999\n\n'
                                   b'event: output\ndata: {"stream":"stdout","data":"end"}\nid: 2500000\n\n')
    assert END_BYTES.fullmatch(mark + end).group(1) == b"2500001"


@pytest.mark.host
@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_nginx_keeps_nothing_for_a_reader_that_pauses(sandbox, marker, path):
    """50 MB are not read: nginx writes no temporary file, and the command waits."""
    body = json.dumps({"cmd": f"yes {marker.text} | head -c 50000000; {marker.sleep}"}).encode()
    with sandbox.raw() as raw:
        raw.send(http_request("POST", path, [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))], body))
        assert raw.socket.recv(1000)
        for _ in range(20):
            sandbox.shell("true")
        opened = [link for pid in sandbox.nginx_pids() for link in descriptors(pid)]
        assert opened and not [link for link in opened if "/tmp/" in link.removeprefix(str(sandbox.run_dir))]
        assert any(line.startswith("yes ") for _, line in sandbox.find(marker.text))
    marker.gone(sandbox)


# ---- the end ----


@pytest.mark.parametrize("holder", ["{} &", "setsid {} &", "({} &) &", "trap '' TERM HUP; {} &", "{} 2>/dev/null &"])
def test_the_shells_exit_is_the_end(sandbox, marker, holder):
    events = events_of(sandbox, f"echo out; {holder.format(marker.sleep)} printf tail; exit 3")
    assert events == [*output("stdout", "out", "tail"), ("complete", {"code": 3, "error": True})]
    assert marker.sleeping(sandbox)


def test_an_endless_writer_left_behind(sandbox, marker):
    events = events_of(sandbox, f"echo first; sh -c 'while :; do echo noise; done # {marker.text}' & exit 0")
    assert events[0] == output("stdout", "first")[0] and events[-1] == COMPLETE
    assert marker.pids(sandbox)


def test_nothing_written_before_the_exit_is_lost(sandbox):
    def once(_):
        with sandbox.stream("echo a; echo b >&2; printf tail") as stream:
            events = stream.events()
        assert lines(events, "stdout") == ["a", "tail"] and lines(events, "stderr") == ["b"] and events[-1] == COMPLETE

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(once, range(500)))


# ---- a command that cannot start ----


def start_failure(sandbox, **fields):
    """The message: of the `error` event, which is all the stream has, or of a 400."""
    with EventStream(sandbox, "POST", "/run_streaming", fields) as stream:
        raw = stream.read_all()
    if stream.status == 400:
        return json.loads(raw)["error"]
    assert stream.status == 200
    check_framing(raw)
    (event,) = parse_events(raw)
    assert event.name == "error" and event.id == "0"
    return event.data["error"]


def test_a_cwd_that_is_no_directory(sandbox, workdir):
    sandbox.shell(f"touch {workdir}/file")
    for cwd in ("/no/such/directory", f"{workdir}/file"):
        assert f"Invalid working directory: {cwd}" in start_failure(sandbox, cmd=f"touch {workdir}/ran", cwd=cwd)
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": ["file"]}


def test_an_environment_that_the_kernel_refuses(sandbox):
    message = start_failure(sandbox, cmd="true", env={"LONG": "x" * 200_000}).lower()
    assert "too long" in message or "too large" in message


# ---- the rest ----


def test_cwd_env_and_long_commands(sandbox):
    assert events_of(sandbox, "pwd; echo $X; cat", cwd="/usr/bin", env={"X": "ü"}) == [*output("stdout", "/usr/bin", "ü"), COMPLETE]
    assert events_of(sandbox, f": {'x' * 300_000}; echo long") == [*output("stdout", "long"), COMPLETE]


def test_streams_at_once(sandbox):
    def one(number):
        events = events_of(sandbox, f"for i in $(seq 200); do echo {number} $i; done")
        assert events == [*output("stdout", *[f"{number} {i}" for i in range(1, 201)]), COMPLETE]

    in_threads(20, one)


@pytest.mark.host
def test_silence_is_broken_by_comments(make_server, tmp_path):
    """A comment line after SANDBOX_STREAM_KEEPALIVE, which clients ignore: it is in the block of the event that follows."""
    server = make_server({"SANDBOX_STREAM_KEEPALIVE": "1s"})
    with server.stream(f"echo before; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; echo after") as stream:
        assert stream.next() == output("stdout", "before")[0]
        while stream.raw.count(b"\n:") < 2:
            assert stream.read_some()
        (tmp_path / "go").touch()
        assert stream.events() == [*output("stdout", "after"), COMPLETE]
    check_framing(bytes(stream.raw))
    assert re.search(rb"\nid: 0\n\n(:keepalive\n){2,}event: output\n", stream.raw)
