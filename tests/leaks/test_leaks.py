"""
Requests of all kinds, good, bad and cut off, from several clients at once, and then an orderly stop. What leaks then is
told by LeakSanitizer, in a build with it (make leaks); here is only seen that the good ones are answered as they should be, and
that the server lives.
"""

import contextlib
import http.client
import json
import os
import random
import tempfile

import pytest
import requests

from sandbox import API, TIMEOUT, EventStream, Server, in_threads

REQUESTS = int(os.environ.get("SANDBOX_LEAKS_REQUESTS", "400"))
CLIENTS = 8

BAD = (b"", b"{", b"[]", b'{"cmd": 1}', b'{"cmd": ""}', b'{"path": ""}', b'{"id": "no"}', b'{"port": "x"}', b'{"cmd":"a","cmd":"b"}',
       b'{"cmd": "true", "cwd": "/none"}', b'{"path": "/proc/none/at/all"}', b'{"cmd": "true", "env": {"A": 1}}', b"\xff" * 300_000)


class Client:
    def __init__(self, server, directory, number):
        self.server, self.path = server, f"{directory}/{number}"
        self.rng = random.Random(number)
        self.jobs = []

    def ask(self, path, /, *also, **fields):
        """The answer to a good request: 200 and no error, or a status that it may `also` have."""
        answer = self.server.post(path, **fields)
        assert answer.status_code in also or (answer.status_code == 200 and "error" not in answer.json()), (path, answer.text[:300])
        return answer.json()

    def look(self, path, **options):
        answer = self.server.get(path, **options)
        assert answer.status_code == 200, (path, answer.text[:300])

    def good(self):
        path, content = self.path, "c" * self.rng.choice((0, 10, 500_000))
        assert self.server.run("cat; echo err >&2; exit 3", stdin="x" * self.rng.choice((1, 100_000)), env={"A": "b"})["code"] == 3
        self.ask("/write_file", path=path, content=content)
        assert self.ask("/read_file", path=path) == {"content": content}
        self.ask("/make_dir", path=f"{path}.d/e")
        assert self.ask("/list_dir", path=f"{path}.d") == {"entries": ["e"]}
        self.ask("/delete_dir", path=f"{path}.d")
        self.ask("/delete_file", path=path)
        self.ask(self.rng.choice(("/bind_port", "/unbind_port")), 409, port=8080)  # the other clients bind, too
        self.look("/health", token=False)
        self.look("/health?full=1")

    def job(self):
        job = self.ask("/start_process", 201, cmd=self.rng.choice(("seq 300", "cat", "sleep 60")), stdin=True)["id"]
        self.ask("/write_stdin", 400, id=job, data="data\n", eof=self.rng.random() < 0.5)
        self.look("/list_processes")
        self.look(f"/get_process?id={job}")
        self.ask("/wait_process", id=job, timeout_ms=5)
        self.follow(job)
        self.ask("/kill_process", 400, id=job, **self.rng.choice(({}, {"signal": "TERM", "grace_ms": 100})))
        self.follow(job)
        self.ask("/delete_process", 400, id=job)  # it may run yet

    def follow(self, job):
        with EventStream(self.server, "GET", f"/process_logs_streaming?id={job}&follow={self.rng.choice('01')}") as stream:
            stream.read_some()
            stream.close(reset=self.rng.random() < 0.5)

    def bad(self):
        for method, path in self.rng.sample(API, 10):
            with contextlib.suppress(requests.ConnectionError):  # what is refused before it is all sent
                self.server.call(method, path, self.rng.choice(BAD), token=self.rng.random() < 0.9)

    def aborted(self):
        """Commands whose client goes away, before, while and after they print, and bodies that are cut off."""
        for cmd in ("sleep 60", "yes", "seq 100000; sleep 60"):
            with EventStream(self.server, "POST", "/run_streaming", {"cmd": cmd}) as stream:
                if cmd != "sleep 60":
                    stream.read_some()
                stream.close(reset=self.rng.random() < 0.5)
        for path in ("/run", "/write_file"):
            connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=TIMEOUT)
            with contextlib.closing(connection):
                connection.putrequest("POST", path)
                connection.putheader("Authorization", self.server.authorization)
                connection.putheader("Content-Length", "1000000")
                connection.endheaders(json.dumps({"cmd": "x" * 100_000}).encode())

    def work(self, count):
        while count > 0:
            kind, requests_of_it = self.rng.choice(((self.good, 10), (self.job, 10), (self.bad, 10), (self.aborted, 5)))
            count -= requests_of_it
            kind()
            assert self.server.running(), "the server is gone"


@pytest.mark.slow
@pytest.mark.host
def test_nothing_leaks():
    with tempfile.TemporaryDirectory(prefix="nxs-leaks-") as directory, Server() as server:
        in_threads(CLIENTS, lambda number: Client(server, directory, number).work(REQUESTS // CLIENTS))
        server.healthy()
