"""
A daemon dies with a request in its hands. Published clients repeat every 5xx: so what may have changed something is a 409 with
may_have_run, and a 503 is only for what was not delivered, or changes nothing.
"""

import contextlib
import json
import os
import signal
import socket
import threading

import pytest

from sandbox import BIG_TIMEOUT, TIMEOUT, alive, in_threads, proc_stat, wait_until

pytestmark = pytest.mark.host

UNKNOWN = "550e8400-e29b-41d4-a716-446655440000"
READS = (
    ("POST", "/read_file", {"path": "/etc/passwd"}), ("POST", "/list_dir", {"path": "/"}), ("POST", "/stat_file", {"path": "/"}),
    ("GET", "/list_processes", None), ("GET", "/list_processes?full=1", None), ("GET", f"/get_process?id={UNKNOWN}", None),
    ("POST", "/wait_process", {"id": UNKNOWN}), ("GET", f"/process_logs_streaming?id={UNKNOWN}", None), ("GET", "/port_status", None),
    ("GET", "/list_ports", None), ("GET", "/ports_streaming", None), ("POST", "/wait_port", {"port": 1}), ("GET", "/health", None), ("GET", "/health?full=1", None),
)
CHANGES = (
    ("POST", "/run", {"cmd": "true"}), ("POST", "/run_streaming", {"cmd": "true"}), ("POST", "/start_process", {"cmd": "true"}),
    ("POST", "/write_file", {"path": "/nonexistent/file", "content": "x"}), ("POST", "/delete_file", {"path": "/nonexistent/file"}),
    ("POST", "/delete_dir", {"path": "/nonexistent/directory"}), ("POST", "/make_dir", {"path": "/proc/none"}), ("POST", "/bind_port", {"port": 8080}),
    ("POST", "/unbind_port", {}), ("POST", "/kill_process", {"id": UNKNOWN}), ("POST", "/write_stdin", {"id": UNKNOWN, "data": "x"}),
    ("POST", "/delete_process", {"id": UNKNOWN}),
)


def assert_lost(answer):
    """It may have been done: no status on which a client repeats it."""
    assert answer.status_code == 409, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"].startswith("application/json") and "Retry-After" not in answer.headers
    body = answer.json()
    assert body["may_have_run"] is True and "may have" in body["error"]


def assert_repeatable(answer):
    assert answer.status_code == 503, (answer.status_code, answer.text)
    assert int(answer.headers["Retry-After"]) >= 0
    assert answer.headers["Content-Type"].startswith("application/json") and answer.json()["error"]
    assert "may_have_run" not in answer.json()


class Impostor(threading.Thread):
    """Listens in the place of a daemon's socket, and handles each connection by a function."""

    def __init__(self, path, kind, handle):
        super().__init__(daemon=True)
        self.path, self.away, self.handle, self.taken = path, path.with_name(path.name + ".away"), handle, 0
        os.rename(path, self.away)
        self.listener = socket.socket(socket.AF_UNIX, kind)
        self.listener.bind(str(path))
        os.chmod(path, 0o666)
        self.listener.listen(100)
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.taken += 1
            with connection:
                connection.settimeout(TIMEOUT)
                with contextlib.suppress(OSError):
                    self.handle(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join(TIMEOUT)
        os.rename(self.away, self.path)


def test_fcgi_app_dies_with_each_kind_of_request(server):
    """It took the request and is gone without a word; nobody was asked twice but for what only reads."""
    workers = set(server.nginx_pids()) - {server.daemon("nginx")}
    with Impostor(server.run_dir / "fcgi-app.sock", socket.SOCK_STREAM, lambda connection: connection.recv(8)) as impostor:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)  # with them go the kept connections
        wait_until(lambda: not any(alive(worker) for worker in workers), "the old workers to go")
        for request in CHANGES:
            before = impostor.taken
            assert_lost(server.call(*request))
            assert impostor.taken == before + 1, request
        for request in READS:
            assert_repeatable(server.call(*request))
        assert_lost(server.call("POST", "/write_file", {"path": "/nonexistent/file", "content": "x" * 5_000_000}))
        assert server.call("GET", "/health", token=False).status_code == 503
    server.healthy()
    for request in READS[:5]:
        assert server.call(*request).status_code == 200


def test_procd_dies_with_each_kind_of_request(server):
    """It has greeted fcgi-app, taken its message, and is gone."""
    def greet_and_go(connection):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as real:
            real.settimeout(TIMEOUT)
            real.connect(str(server.run_dir / "procd.sock.away"))
            connection.send(real.recv(65536))
            connection.recv(1 << 20)

    asks = ("/kill_process", "/write_stdin", "/delete_process", "/start_process")
    with Impostor(server.run_dir / "procd.sock", socket.SOCK_SEQPACKET, greet_and_go):
        server.kill_daemon("fcgi-app")  # the next one finds this socket when it starts
        for request in CHANGES:
            if request[1] in asks:
                assert_lost(server.call(*request, timeout=BIG_TIMEOUT))
        for request in READS:
            if ("process" in request[1] or "health" in request[1]) and request[1] != "/wait_process":  # which waits for a procd, too
                assert_repeatable(server.call(*request, timeout=BIG_TIMEOUT))
        for path in ("/run", "/run_streaming"):  # no runner has said that it begins: it certainly has not run
            assert_repeatable(server.call("POST", path, {"cmd": "true"}, timeout=BIG_TIMEOUT))
    server.back("fcgi-app", server.kill_daemon("fcgi-app"))
    assert server.shell("echo again") == "again\n"


def in_background(function):
    """Calls it in a thread; what it returns is the answer, once it is there."""
    box = []
    thread = threading.Thread(target=lambda: box.append(function()))
    thread.start()

    def result():
        thread.join(BIG_TIMEOUT)
        return box[0]

    return result


def test_a_daemon_is_killed_in_the_middle(server, make_marker):
    """Commands that run, processes that are waited for, killed with a grace, or written to, and a body that is on its way."""
    ignores = make_marker()
    job = server.start(f"trap '' TERM; {ignores.sleep} & wait; wait", stdin=True)["id"]
    ignores.sleeping(server)

    def hold(*requests):
        return [in_background(lambda request=request: server.call("POST", *request, timeout=BIG_TIMEOUT)) for request in requests]

    # procd, of a kill that takes its time; fcgi-app, of all of these.
    run = make_marker()
    wait, kill = hold(("/wait_process", {"id": job}), ("/kill_process", {"id": job, "grace_ms": 60000}))
    command, = hold(("/run", {"cmd": f"exec {run.sleep}"}))
    run.sleeping(server)
    body = json.dumps({"path": "/nonexistent/file", "content": "x" * 100_000}).encode()
    with server.raw(BIG_TIMEOUT) as raw:
        raw.send(b"POST /write_file HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s" % (
            server.authorization, len(body), body[:50_000]))
        wait_until(lambda: server.get("/health?full=1").json()["queue"]["requests"] >= 5, "all of them to be in fcgi-app's hands")
        old = server.kill_daemon("fcgi-app")
        for lost in (kill, command):
            assert_lost(lost())
        assert_repeatable(wait())
        status, headers, answer = raw.response()
        assert status == 409 and json.loads(answer)["may_have_run"] is True and "Retry-After" not in headers
    server.back("fcgi-app", old)
    run.gone(server)


def test_procd_is_killed_during_a_kill(server, marker):
    job = server.start(f"trap '' TERM; {marker.sleep} & wait; wait")["id"]
    marker.sleeping(server)
    kill = in_background(lambda: server.call("POST", "/kill_process", {"id": job, "grace_ms": 600000}, timeout=BIG_TIMEOUT))
    wait_until(lambda: server.get("/health?full=1").json()["queue"]["requests"] >= 2, "the kill to be in fcgi-app's hands")
    server.settle(3)
    old = server.kill_daemon("procd")
    assert_lost(kill())
    server.back("procd", old)
    assert server.kill(job).status_code == 200


def test_runners_that_are_killed(server, make_marker):
    """The death of the runner of a foreground command loses the command; a stream reports that by an event."""
    first, second = make_marker(), make_marker()
    call = in_background(lambda: server.call("POST", "/run", {"cmd": f"exec {first.sleep}"}, timeout=BIG_TIMEOUT))
    os.kill(proc_stat(first.sleeping(server)[0])[1], signal.SIGKILL)
    assert_lost(call())
    with server.stream(f"exec {second.sleep}") as stream:
        os.kill(proc_stat(second.sleeping(server)[0])[1], signal.SIGKILL)
        event = stream.events()[-1]
        assert event.name == "error" and "may have run" in event.data["error"]


@pytest.mark.parametrize("path", ["/run", "/run_streaming", "/start_process"])
def test_a_command_that_is_sent_again_by_an_event_stream(server, path, tmp_path):
    """fetch-event-source posts again when it was cut, with Last-Event-ID: the command is not run a second time."""
    for identifier in ("0", "12", "x-1-2", "é"):
        answer = server.call("POST", path, {"cmd": f"touch {tmp_path}/ran"}, headers={"Last-Event-ID": identifier.encode()})
        assert_lost(answer)
        assert "Last-Event-ID" in answer.json()["error"]
    assert server.shell("echo again") == "again\n" and not (tmp_path / "ran").exists()
    assert server.call("POST", path, {"cmd": "true"}, headers={"Last-Event-ID": ""}).status_code in (200, 201)
    for wrong in (b"{", b"{}"):  # a request that is wrong is that first
        assert server.call("POST", path, wrong, headers={"Last-Event-ID": "1"}).status_code == 400


def test_many_are_lost_at_once(server, tmp_path):
    """However many clients get an answer, each answer is true."""
    def one(number):
        return server.call("POST", "/run", {"cmd": f"echo x >>{tmp_path}/{number}; sleep 0.3"}, timeout=BIG_TIMEOUT)

    def strike(number):
        if number == 0:
            wait_until(lambda: any(tmp_path.iterdir()), "a command to run")
            return server.kill_daemon("fcgi-app")
        return one(number)

    old, *answers = in_threads(30, strike)
    server.back("fcgi-app", old)
    for number, answer in enumerate(answers, 1):
        ran = (tmp_path / str(number)).read_text().count("x") if (tmp_path / str(number)).exists() else 0
        if answer.status_code == 503:
            assert_repeatable(answer)
            assert ran == 0
        elif answer.status_code == 200:
            assert ran == 1
        else:
            assert_lost(answer)
            assert ran <= 1
