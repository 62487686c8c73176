"""
Event streams as published clients read them, each imitated as strictly as it is: what cuts lines as Unicode does, what counts an id
before its event is whole, what makes an event of every blank line, what asks again until it is told 204. A proxy between them and the
server cuts connections at any byte.
"""

import contextlib
import json
import re
import socket
import threading

import httpx
import pytest
import requests

from sandbox import BIG_TIMEOUT, TIMEOUT, EventStream, check_framing, in_threads, parse_events, wait_until

END_ID = re.compile(r"[0-9a-f]{8}-end")

# All that str.splitlines takes for the end of a line, in UTF-8, for printf(1).
SEPARATORS = {"\n": "\\n", "\v": "\\013", "\f": "\\014", "\r": "\\015", "\x1c": "\\034", "\x1d": "\\035", "\x1e": "\\036", "\x85": "\\302\\205",
              "\u2028": "\\342\\200\\250", "\u2029": "\\342\\200\\251"}


# ---- parsers: each takes bytes and gives the events that it sees ----


class LinesOfText:
    """The Python SDK over httpx: lines of text, of which those that begin with `data:` count."""

    def __init__(self):
        self.text = b""

    def feed(self, data):
        self.text += data

    def data(self):
        lines = [line for line in self.text.decode().splitlines() if line.startswith("data:")]
        return [json.loads(line[5:].strip()) for line in lines]


class Standard:
    """The parser of HTML's standard: an id counts once its event is dispatched, an event without data is none."""

    def __init__(self, state):
        self.state = state  # what outlives a connection: last_id, retry
        self.state.setdefault("last_id", "")
        self.rest, self.fields, self.identifier = b"", [], self.state["last_id"]
        self.events = []

    def feed(self, data):
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.line(line.decode())

    def line(self, line):
        if line == "":
            self.state["last_id"] = self.identifier
            data = [value for name, value in self.fields if name == "data"]
            if data:
                name = ([value for name, value in self.fields if name == "event"] or ["message"])[-1]
                self.events.append((name, "\n".join(data), self.identifier))
            self.fields = []
        elif not line.startswith(":"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                self.identifier = value
            elif name == "retry":
                self.state["retry"] = int(value)
            else:
                self.fields.append((name, value))


class Eager(Standard):
    """fetch-event-source: an id counts with its line, and every blank line makes an event."""

    def line(self, line):
        if line == "":
            names, data = [value for name, value in self.fields if name == "event"], [value for name, value in self.fields if name == "data"]
            self.events.append(("".join(names[-1:]), "\n".join(data), self.identifier))
            self.fields = []
        else:
            super().line(line)
            self.state["last_id"] = self.identifier


PARSERS = {"standard": Standard, "eager": Eager}


# ---- a proxy that cuts ----


class Cutter:
    """Passes connections on to a server; of each answer only as many bytes as the next number of `cuts` says, then it resets."""

    def __init__(self, address, cuts):
        self.address, self.cuts = address, iter(cuts)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                with client, socket.create_connection(self.address, TIMEOUT) as server:
                    self.serve(client, server, next(self.cuts, None))

    @staticmethod
    def serve(client, server, left):
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(65536)
        server.sendall(request)
        while left is None or left > 0:
            data = server.recv(65536 if left is None else min(left, 65536))
            if not data:
                return
            client.sendall(data)
            left = None if left is None else left - len(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(TIMEOUT)


def read_stream(port, server, path, state, parser):
    """One connection of a client: (status, the events it dispatches, the bytes of the answer behind its head)."""
    last = f"Last-Event-ID: {state['last_id']}\r\n" if state.get("last_id") else ""
    received = b""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.settimeout(BIG_TIMEOUT)
        # HTTP/1.0: the body is what comes, so that an offset in the answer is one in the stream.
        connection.sendall(f"GET {path} HTTP/1.0\r\nAuthorization: Bearer {server.secret}\r\n{last}\r\n".encode())
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65536):
                received += data
    head, _, body = received.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if len(head.split()) > 1 else 0
    reader = parser(state)
    reader.feed(body)
    return status, reader.events, body


def lines_of(events):
    return [json.loads(data)["data"] for name, data, _ in events if name == "log"]


def ended(sandbox, command):
    identifier = sandbox.start(command)["id"]
    sandbox.ended(identifier)
    return f"/process_logs_streaming?id={identifier}"


def follow_cut(server, path, parser, cuts):
    """All events of a client that comes again after each cut until it has `complete`."""
    state, events = {}, []
    with Cutter((server.host, server.port), cuts) as cutter:
        while not any(name == "complete" for name, _, _ in events):
            _, more, _ = read_stream(cutter.port, server, path, state, parser)
            events += more
    return events, state


def answer_of(server, path):
    """How many bytes the answer's head has, and the body."""
    received = b""
    with socket.create_connection((server.host, server.port), TIMEOUT) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nAuthorization: Bearer {server.secret}\r\n\r\n".encode())
        while data := connection.recv(65536):
            received += data
    head, _, body = received.partition(b"\r\n\r\n")
    return len(head) + 4, body


# ---- line separators ----


def splitting_clients(sandbox):
    """{name: function(method, path, json) -> the JSON of all data lines} of clients that split text into lines."""
    headers = {"Authorization": f"Bearer {sandbox.secret}"}

    def by_httpx(method, path, payload=None):
        with httpx.stream(method, sandbox.url + path, json=payload, headers=headers, timeout=TIMEOUT) as answer:
            lines = [line.rstrip("\n") for line in answer.iter_lines()]
        return [json.loads(line[5:].strip()) for line in lines if line.startswith("data:")]

    def by_requests(method, path, payload=None):
        with requests.request(method, sandbox.url + path, json=payload, headers=headers, timeout=TIMEOUT, stream=True) as answer:
            answer.encoding = "utf-8"
            return [json.loads(line[5:]) for line in answer.iter_lines(decode_unicode=True) if line.startswith("data:")]

    def by_splitlines(method, path, payload=None):
        reader = LinesOfText()
        reader.feed(requests.request(method, sandbox.url + path, json=payload, headers=headers, timeout=TIMEOUT).content)
        return reader.data()

    return {"httpx": by_httpx, "requests": by_requests, "splitlines": by_splitlines}


@pytest.mark.parametrize("client", ["httpx", "requests", "splitlines"])
def test_no_character_of_the_output_ends_a_line(sandbox, client):
    """U+0085, U+2028 and U+2029 in the output were sent as they are: clients that split as Python does cut the event there."""
    read = splitting_clients(sandbox)[client]
    octal = "".join(text for character, text in SEPARATORS.items() if character != "\n")
    expected = "".join(character for character in SEPARATORS if character != "\n")
    command = f"printf 'a{octal}b\\n'; printf 'c{octal}d\\n'"
    lines = [f"a{expected}b", f"c{expected}d"]
    assert [data.get("data") for data in read("POST", "/run_streaming", {"cmd": command})] == [*lines, None]
    assert [data.get("data") for data in read("GET", ended(sandbox, command))] == [*lines, None]
    assert sandbox.run(command)["stdout"] == "".join(line + "\n" for line in lines)


@pytest.mark.parametrize("client", ["httpx", "requests", "splitlines"])
def test_no_character_of_an_error_ends_a_line(sandbox, client):
    read = splitting_clients(sandbox)[client]
    name = "no\x85such\u2028directory\u2029\v"
    assert read("POST", "/run_streaming", {"cmd": "true", "cwd": "/" + name}) == [{"error": f"Invalid working directory: /{name}", "error_code": "invalid_request"}]
    parameter = requests.utils.quote("none\x85\u2028\u2029")
    assert read("GET", f"/process_logs_streaming?id={parameter}") == [{"error": "process not found: none\x85\u2028\u2029", "error_code": "not_found"}]


def test_separators_in_a_line_that_is_long_or_torn_into_pieces(sandbox):
    """Across the pieces in which a long line is held, and across the reads of the pipe."""
    command = "for i in $(seq 20000); do printf '\\342\\200'; printf '\\250\\302'; printf '\\205x'; done"
    line = "\u2028\x85x" * 20000
    with sandbox.stream(command) as stream:
        raw = stream.read_all()
    check_framing(raw)
    assert parse_events(raw)[0].data["data"] == line
    with EventStream(sandbox, "GET", ended(sandbox, command)) as stream:
        raw = stream.read_all()
    check_framing(raw)
    assert parse_events(raw)[0].data["data"] == line


# ---- ids, and cuts ----


@pytest.mark.parametrize("name", PARSERS)
def test_blocks_without_data_are_not_sent(sandbox, name):
    """A block for `retry:` alone, and one for each comment, was an event without data to some."""
    _, events, body = read_stream(sandbox.port, sandbox, ended(sandbox, "echo a; echo b"), {}, PARSERS[name])
    assert [event for event, _, _ in events] == ["log", "log", "complete"]
    assert body.startswith(b"retry: 1000\nevent: log\n")


@pytest.mark.host
@pytest.mark.parametrize("name", PARSERS)
def test_a_cut_at_any_byte_loses_no_line_and_repeats_none(server, name):
    """
    The id was the first line of an event: cut behind it, a client that counts ids by their line lost the event. What is left is the cut
    between the last two newlines, where no order of lines helps such a client.
    """
    path = ended(server, "echo one; echo two >&2; echo; printf 'a\\342\\200\\250b'")
    head, body = answer_of(server, path)
    expected = lines_of(parse(Standard, body))
    assert sorted(expected) == sorted(["one", "two", "", "a\u2028b"])
    exposed = {index + 1 for index in range(len(body)) if body[index:index + 2] == b"\n\n"} if name == "eager" else set()

    def cut(number):
        for offset in range(number, len(body), 8):
            if offset not in exposed:
                events, _ = follow_cut(server, path, PARSERS[name], [head + offset])
                assert lines_of(events) == expected, (offset, body[offset - 20:offset])
                assert [event for event, data, _ in events if not data] == []

    in_threads(8, cut)


def parse(parser, body):
    reader = parser({})
    reader.feed(body)
    return reader.events


@pytest.mark.host
def test_many_cuts_in_one_stream(server):
    """Of a client that is cut after ever more bytes, each time from where it was."""
    path = ended(server, "seq 300")
    head, _ = answer_of(server, path)
    for name, parser in PARSERS.items():
        events, _ = follow_cut(server, path, parser, [head + 100 + 37 * number for number in range(200)])
        if name == "standard":
            assert lines_of(events) == [str(number) for number in range(1, 301)]
        else:
            assert len(set(lines_of(events))) == len(lines_of(events)) >= 290  # see above


def test_text_that_looks_like_an_id(sandbox):
    command = "printf '\\nid: 7\\nid: 00000000-end\\n\\n'"
    _, events, _ = read_stream(sandbox.port, sandbox, ended(sandbox, command), {}, Standard)
    assert lines_of(events) == ["", "id: 7", "id: 00000000-end", ""]
    assert [identifier.split("-")[2:] for _, _, identifier in events] == [["0"], ["1"], ["2"], ["3"], []]


# ---- the end ----


def ask(server, path, last=None, method="GET"):
    headers = {"Authorization": f"Bearer {server.secret}", **({"Last-Event-ID": last} if last else {})}
    return requests.request(method, server.url + path, headers=headers, timeout=TIMEOUT)


def last_id(server, path):
    state = {}
    read_stream(server.port, server, path, state, Standard)
    return state["last_id"]


def assert_ended(answer):
    assert answer.status_code == 204 and answer.content == b"" and "Content-Type" not in answer.headers


def test_who_comes_again_after_the_end_is_told_so(sandbox):
    """An EventSource that is left open asked again each second for ever: 204 is the only answer that ends it."""
    path = ended(sandbox, "echo a")
    identifier = path.partition("=")[2]
    end = last_id(sandbox, path)
    assert END_ID.fullmatch(end) and end.startswith(identifier[:8])
    assert_ended(ask(sandbox, path, end))
    assert_ended(ask(sandbox, path, end, "HEAD"))
    assert_ended(ask(sandbox, f"{path}&cursor={end}"))
    assert_ended(ask(sandbox, f"{path}&tail=10&follow=1", end))
    assert sandbox.post("/delete_process", id=identifier).status_code == 200
    assert_ended(ask(sandbox, path, end))
    assert requests.get(sandbox.url + path, headers={"Last-Event-ID": end}, timeout=TIMEOUT).status_code == 401


def test_an_unknown_process_ends_an_event_source_as_well(sandbox):
    """200 with an `error` event, as ever; who comes again gets 204."""
    for identifier in ("none", "550e8400-e29b-41d4-a716-446655440000", "a%0Ab"):
        path = f"/process_logs_streaming?id={identifier}"
        answer = ask(sandbox, path)
        (event,) = parse_events(answer.content)
        assert answer.status_code == 200 and event.name == "error" and END_ID.fullmatch(event.id)
        check_framing(answer.content)
        assert_ended(ask(sandbox, path, event.id))


def test_a_stream_that_is_not_at_its_end_has_no_such_id(sandbox, workdir):
    """`complete` with `running`, so that an EventSource comes again for what is new."""
    identifier = sandbox.start(f"echo a; while [ ! -e {workdir}/go ]; do sleep 0.01; done; echo b")["id"]
    path = f"/process_logs_streaming?id={identifier}&follow=0"
    wait_until(lambda: b'"a"' in ask(sandbox, path).content, "the line")
    state = {}
    _, events, _ = read_stream(sandbox.port, sandbox, path, state, Standard)
    assert [(name, json.loads(data).get("running")) for name, data, _ in events] == [("log", None), ("complete", True)]
    assert state["last_id"].endswith("-0-0")
    sandbox.shell(f"touch {workdir}/go")
    sandbox.ended(identifier)
    _, events, _ = read_stream(sandbox.port, sandbox, path, state, Standard)
    assert lines_of(events) == ["b"] and END_ID.fullmatch(state["last_id"])


def test_what_is_no_id_of_an_end(sandbox):
    path = ended(sandbox, "echo a")
    end = last_id(sandbox, path)
    for wrong in (end + "-1", end + "x", end[1:], "end", "-end", end.upper() + "-", "g" + end[1:]):
        assert ask(sandbox, path, wrong).status_code == 400, wrong


@pytest.mark.host
def test_the_end_outlives_the_server(make_server):
    """The id alone says it: another server, which never had the process, says 204 as well."""
    server = make_server()
    path = ended(server, "echo a")
    end = last_id(server, path)
    server.stop()
    assert_ended(ask(make_server(), path, end))


def test_an_event_source_comes_to_rest(sandbox):
    """The loop of one: it asks again whenever a stream ends, with the last id it has, until it gets 204."""
    for path in (ended(sandbox, "seq 3"), "/process_logs_streaming?id=none"):
        state, statuses = {}, []
        while not statuses or statuses[-1] == 200:
            statuses.append(read_stream(sandbox.port, sandbox, path, state, Standard)[0])
            assert len(statuses) < 5
        assert statuses == [200, 204]


# ---- keep-alives ----


@pytest.mark.host
@pytest.mark.slow
def test_a_read_timeout_longer_than_the_old_comments_comes(server):
    """Comments every 10 s kept a client's timeout of 12 s for each read from ever coming."""
    fields = {"cmd": "sleep 17; echo late"}
    headers = {"Authorization": f"Bearer {server.secret}"}
    job = server.start("sleep 17")["id"]

    def stream(number):
        if number == 0:
            return httpx.stream("POST", server.url + "/run_streaming", json=fields, headers=headers, timeout=12)
        return httpx.stream("GET", f"{server.url}/process_logs_streaming?id={job}", headers=headers, timeout=12)

    def read(number):
        with pytest.raises(httpx.ReadTimeout), stream(number) as answer:
            assert answer.status_code == 200
            list(answer.iter_lines())

    in_threads(2, read)


@pytest.mark.host
def test_a_read_timeout_longer_than_the_setting_never_comes(make_server):
    server = make_server({"SANDBOX_STREAM_KEEPALIVE": "1s"})
    headers = {"Authorization": f"Bearer {server.secret}"}
    with httpx.stream("POST", server.url + "/run_streaming", json={"cmd": "sleep 7; echo late"}, headers=headers, timeout=5) as answer:
        lines = list(answer.iter_lines())
    assert sum(line.startswith(":keepalive") for line in lines) >= 5
    assert 'data: {"stream":"stdout","data":"late"}' in [line.rstrip("\n") for line in lines]
