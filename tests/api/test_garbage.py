"""
Garbage straight to the sockets and into the files of the daemons: the connection is dropped, the file is reported as damaged,
and nothing else happens. (Everybody who can reach them is the user that the daemons run as, or root.)
"""

import contextlib
import errno
import os
import pathlib
import random
import shutil
import socket
import struct

import pytest

from sandbox import TIMEOUT, descriptors, wait_until

pytestmark = pytest.mark.host

UNKNOWN = "550e8400-e29b-41d4-a716-446655440000"
SEED = 20251104  # of what is random here; the fuzzers (tests/fuzz) try other things each time


class Watched:
    """Fails at the end unless the daemons are the processes that they were and hold no more than before."""

    def __init__(self, server):
        self.server = server

    def measure(self):
        pids = [self.server.daemon(name) for name in ("fcgi-app", "procd", "terminal", "nginx")]
        threads = len(os.listdir(f"/proc/{pids[0]}/task"))
        return pids, [len(descriptors(pid)) for pid in pids], threads

    def __enter__(self):
        self.server.settle()
        self.pids, self.descriptors, self.threads = self.measure()

    def __exit__(self, kind, *_):
        if kind is None:
            spare = 16  # kept connections between the daemons, threads that wait for the next, idle runners
            wait_until(lambda: all(now <= before + spare for now, before in zip(self.measure()[1], self.descriptors)), "descriptors back")
            wait_until(lambda: self.measure()[2] <= self.threads + spare, "threads back")
            assert self.measure()[0] == self.pids
            assert self.server.get("/health", token=False).json() == {"status": "ok"}
            assert self.server.shell("echo here") == "here\n"


def converse(path, kind, data, wait=TIMEOUT, rights=(), enough=lambda answer: False):
    """Sends `data`; (what is answered, whether the connection has ended, or that was `enough`, before `wait` seconds without a word)."""
    answer = b""
    with socket.socket(socket.AF_UNIX, kind) as connection:
        connection.settimeout(wait)
        wait_until(lambda: connection.connect_ex(str(path)) != errno.EAGAIN, "room among the connections that wait")
        try:
            connection.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(rights)}i", *rights))] if rights else [])
            while not enough(answer) and (piece := connection.recv(65536)):
                answer += piece
        except TimeoutError:
            return answer, False
        except (ConnectionResetError, BrokenPipeError):
            pass
    return answer, True


# ---- FastCGI ----


def record(kind, content=b"", number=1, version=1, padding=0):
    return struct.pack(">BBHHBx", version, kind, number, len(content), padding) + content + b"\0" * padding


def pair(name, value, name_length=None, value_length=None):
    def length(given, text):
        given = len(text) if given is None else given
        return bytes([given]) if given < 128 else struct.pack(">I", given | 1 << 31)

    return length(name_length, name) + length(value_length, value) + name + value


def request(method, path, body=b""):
    params = pair(b"REQUEST_METHOD", method) + pair(b"SCRIPT_NAME", path) + pair(b"CONTENT_LENGTH", b"%d" % len(body))
    return BEGIN + record(4, params) + record(4) + (record(5, body) if body else b"") + record(5)


BEGIN = record(1, struct.pack(">HB5x", 1, 0))
NO_FASTCGI = {
    "zeros": b"\0" * 1000,
    "HTTP": b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    "another version": record(1, struct.pack(">HB5x", 1, 0), version=2),
    "begun twice": BEGIN + BEGIN,
    "begun without an id": record(1, struct.pack(">HB5x", 1, 0), number=0),
    "an authorizer": record(1, struct.pack(">HB5x", 2, 0)),
    "parameters first": record(4, pair(b"A", b"b")),
    "a name of 2 GiB": BEGIN + record(4, pair(b"A", b"b", name_length=2**31 - 1)),
    "a name and a value of 2 GiB": BEGIN + record(4, pair(b"A", b"b", 2**31 - 1, 2**31 - 1)),
    "a name beyond the parameters": BEGIN + record(4, pair(b"A", b"b", name_length=100)) + record(4),
    "an unknown record": BEGIN + record(77, b"x"),
    "an unknown management record": record(77, b"x", number=0),
    "values": record(9, pair(b"FCGI_MAX_CONNS", b""), number=0),
    # On these libfcgi 2.4.2 writes beyond its stack.
    "values, again and again": BEGIN + record(9, pair(b"FCGI_MAX_CONNS", b"") * 12, number=0) + record(4),
    "values without a name": BEGIN + record(9, pair(b"\0", b""), number=0) + record(4),
    "an abort": BEGIN + record(2),
    "standard output": BEGIN + record(6, b"x"),
    "two requests at once": request(b"GET", b"/health") * 2,
}


def test_what_is_no_fastcgi(server):
    with Watched(server):
        for name, data in NO_FASTCGI.items():
            assert converse(server.run_dir / "fcgi-app.sock", socket.SOCK_STREAM, data) == (b"", True), name


def random_records(rng):
    contents = (b"", struct.pack(">HB5x", 1, 1), pair(b"SCRIPT_NAME", b"/list_processes"), pair(b"FCGI_MAX_CONNS", b"") * 9, pair(b"\0", b""),
                pair(b"A", b"b", name_length=rng.choice((5, 2**30, 2**31 - 1))), rng.randbytes(50), b"x" * 60000)
    data = request(b"GET", b"/health") if rng.random() < 0.2 else rng.choice((b"", BEGIN))
    for _ in range(rng.randrange(1, 6)):
        data += record(rng.choice((1, 2, 4, 4, 5, 5, 9, 9, 11)), rng.choice(contents), number=rng.choice((0, 1, 1, 1, 2)), padding=rng.choice((0, 0, 7)))
    return data[:rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data


def test_random_fastcgi(server):
    rng = random.Random(SEED)
    with Watched(server):
        for _ in range(500):
            converse(server.run_dir / "fcgi-app.sock", socket.SOCK_STREAM, random_records(rng), wait=0.02)


def test_a_request_that_is_cut_does_nothing(server, tmp_path):
    target = tmp_path / "file"
    data = request(b"POST", b"/write_file", b'{"path":"%s","content":"x"}' % os.fsencode(target))
    with Watched(server):
        for length in range(0, len(data), 7):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(server.run_dir / "fcgi-app.sock"))
                connection.send(data[:length])
        server.settle()
        assert not target.exists()
        assert b'{"success":true}' in converse(server.run_dir / "fcgi-app.sock", socket.SOCK_STREAM, data)[0]
        assert target.read_text() == "x"


def test_connections_that_say_nothing(server):
    """They hold nobody up, and go with their clients."""
    with Watched(server):
        with contextlib.ExitStack() as stack:
            for data in (b"", BEGIN[:5], BEGIN, request(b"POST", b"/run", b"{}")[:-8]) * 25:
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(str(server.run_dir / "fcgi-app.sock"))
                connection.send(data)
            assert server.shell("echo here") == "here\n"


# ---- procd and its runners ----


def message(kind, fields=b"", magic=b"pcd1", place=0, length=None):
    return struct.pack("=4sHHQ", magic, kind, place, len(fields) if length is None else length) + fields


def field(tag, value, length=None):
    if isinstance(value, int):
        value = struct.pack("=q", value)
    return struct.pack("=HHI", tag, 0, len(value) if length is None else length) + value + b"\0" * (-len(value) % 8)


CMD, ENV, ID, SIGNAL, GRACE, DATA = 1, 3, 4, 11, 22, 96
PING, RUN, START, LIST, KILL, WRITE = 1, 2, 3, 4, 5, 23
GREETING = message(7)
FAILED = 11
RUNNER_DIED = field(9, errno.ECHILD)  # what procd answers to a START then

NO_MESSAGE = {
    "nothing much": b"x",
    "zeros": b"\0" * 100,
    "another version": message(PING, magic=b"pcd2"),
    "another magic": message(PING, magic=b"PCD1"),
    "half a header": message(PING)[:10],
    "too short": message(LIST, field(12, 0))[:-1],
    "too long": message(LIST, field(12, 0)) + b"\0",
    "a length of 2^63": message(LIST, length=1 << 63),
    "a large packet": message(LIST, b"\0" * 40000),
    "no type": message(0),
    "a type that is an answer": message(GREETING[4]),
    "a type beyond all": message(0xffff),
    "half a field": message(LIST, b"\1\0\0\0"),
    "a field beyond the message": message(LIST, field(12, 0, length=100)),
    "a field of 4 GiB": message(LIST, field(200, b"", length=0xffffffff)),
    "a number of one byte": message(LIST, field(12, b"x")),
    "a file that is not there": message(LIST, place=1, length=100),
}


def test_what_is_no_message(server):
    job = server.start("sleep 86400")["id"]
    runner = server.run_dir / "state/jobs" / job / "runner.sock"
    with Watched(server):
        for name, data in NO_MESSAGE.items():
            assert converse(server.run_dir / "procd.sock", socket.SOCK_SEQPACKET, data) == (GREETING, True), name
        for name, data in NO_MESSAGE.items():
            if "type" not in name:  # a runner takes no notice of what it does not know
                assert converse(runner, socket.SOCK_SEQPACKET, data) == (b"", True), name
    assert server.status(job) == "running"
    assert server.kill(job).status_code == 200


def test_files_that_are_no_fields(server):
    """In the place of a sealed memory file: a pipe, a directory, a file that can still be cut."""
    unsealed = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(unsealed, field(12, 0))
    pipe = os.pipe()
    directory = os.open("/", os.O_RDONLY)
    with Watched(server):
        for descriptor in (unsealed, *pipe, directory):
            answer = converse(server.run_dir / "procd.sock", socket.SOCK_SEQPACKET, message(LIST, place=1, length=16), rights=[descriptor])
            assert answer == (GREETING, True)
    for descriptor in (unsealed, *pipe, directory):
        os.close(descriptor)


def ask_to_start(server, data, rights=()):
    """What procd answers to a START, in one packet after its greeting; nothing if that was none and the connection is dropped."""
    answer, done = converse(server.run_dir / "procd.sock", socket.SOCK_SEQPACKET, data, rights=rights, enough=lambda answer: len(answer) > len(GREETING))
    assert done and answer.startswith(GREETING)
    return answer[len(GREETING):]


def test_a_job_without_a_command(server):
    """It is refused by its runner, which lives on."""
    with Watched(server):
        for fields in (b"", field(ENV, b"A=b\0"), field(200, b"x")):
            answer = ask_to_start(server, message(START, fields))
            assert answer[4] == FAILED and RUNNER_DIED not in answer


def random_message(rng):
    numbers = (0, -1, 1, 9, 65, 2**31, 2**32 + 9, 2**63 - 1, -(2**63))
    fields = b""
    for _ in range(rng.randrange(5)):
        fields += rng.choice((
            lambda: field(CMD, rng.choice((b":\0", b"\0", b"exit 1\0"))), lambda: field(ENV, rng.choice((b"A=b\0", b"A\0", b"=\0"))),
            lambda: field(ID, rng.choice((UNKNOWN.encode() + b"\0", b"../..\0", b"x" * 300 + b"\0"))), lambda: field(rng.randrange(6, 45), rng.choice(numbers)),
            lambda: field(DATA, rng.randbytes(30)), lambda: field(rng.randrange(65536), rng.randbytes(rng.randrange(20))),
        ))()
    data = message(rng.randrange(1, 32), fields)
    if rng.random() < 0.3:
        data = bytearray(data)
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def test_random_messages(server):
    """Commands among them are run, with whatever limits they ask for; the processes that come of it are ended."""
    rng = random.Random(SEED)
    with Watched(server):
        job = server.start("sleep 86400")["id"]
        for _ in range(500):
            data, rights = random_message(rng), [0] * rng.randrange(3)
            if data[4:6] == bytes([START, 0]):
                assert RUNNER_DIED not in ask_to_start(server, data, rights)
            else:
                converse(server.run_dir / "procd.sock", socket.SOCK_SEQPACKET, data, wait=0.01, rights=rights)
        assert server.status(job) == "running"
        for process in server.processes():
            server.kill(process["id"])
            server.post("/delete_process", id=process["id"])


def test_random_orders_to_a_runner(server):
    """What has no meaning is not obeyed; numbers may be any."""
    rng = random.Random(SEED)
    job = server.start("sleep 86400", stdin=True)["id"]
    runner = server.run_dir / "state/jobs" / job / "runner.sock"
    with Watched(server):
        for _ in range(500):
            data = random_message(rng)
            if data[4:6] != bytes([KILL, 0]):
                converse(runner, socket.SOCK_SEQPACKET, data, wait=0.005)
        for number in (0, -1, 65, 2**40, -(2**63)):
            converse(runner, socket.SOCK_SEQPACKET, message(KILL, field(SIGNAL, number)), wait=0.005)
        assert server.status(job) == "running"
        converse(runner, socket.SOCK_SEQPACKET, message(KILL, field(SIGNAL, 18) + field(GRACE, 2**63 - 1)), wait=0.005)
        assert server.kill(job).status_code == 200
    assert server.status(job) == "killed"


# ---- files ----


def damage(rng, path):
    data = bytearray(path.read_bytes())
    kind = rng.randrange(5)
    if kind == 0:
        data = data[:rng.randrange(len(data) + 1)]
    elif kind == 1:
        data += rng.randbytes(100)
    elif kind == 2:
        data = rng.randbytes(300)
    elif data:
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            data[at:at + 1] = rng.choice((b"", b"\n", b"\0", b"9", bytes([rng.randrange(256)])))
    path.write_bytes(data)


def test_damaged_files_of_jobs(server):
    """procd starts again on them and reports what it can; a reader gets what is in the log, and an end of some kind."""
    rng = random.Random(SEED)
    started = [server.start("seq 100; echo é >&2")["id"] for _ in range(30)]
    for job in started:
        server.ended(job)
    jobs = pathlib.Path(server.run_dir, "state/jobs")
    for job in started:
        files = sorted(path for path in (jobs / job).iterdir() if path.is_file())
        for path in rng.sample(files, rng.randrange(1, 3)):
            if rng.random() < 0.2:
                path.unlink()
            else:
                damage(rng, path)
    shutil.copytree(jobs / started[0], jobs / UNKNOWN)  # another's record
    (jobs / "no id").mkdir()
    (jobs / ("x" * 200)).touch()
    server.back("procd", server.kill_daemon("procd"))
    fcgi_app, procd = server.daemon("fcgi-app"), server.daemon("procd")
    for process in server.processes():
        assert process["id"] in started and process["status"] != "running"
        assert server.get(f"/get_process?id={process['id']}").status_code == 200
        for query in ("", "&follow=0&tail=5", f"&cursor={process['id'][:8]}-0-0"):
            with server.logs(process["id"] + query) as stream:
                last = stream.read_all().rstrip(b"\n").rpartition(b"\n\n")[2]
                assert stream.status == 400 or last.startswith((b"event: complete\n", b"event: error\n")), last
        assert server.post("/delete_process", id=process["id"]).status_code == 200
    assert server.lines(server.start("echo new")["id"]) == ["new"]
    assert (server.daemon("fcgi-app"), server.daemon("procd")) == (fcgi_app, procd)
