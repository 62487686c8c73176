"""
Two small clients in the manner of the published SDKs (one Python, one JavaScript), and what their users do with them:
they repeat a request on 503 and on nothing else, take one `data:` line per event, and know errors by their words.
"""

import codecs
import http.client
import json
import re
import time

import pytest
import requests

from sandbox import BIG_TIMEOUT, TIMEOUT, in_threads, split_facts, wait_until


class SandboxError(Exception):
    pass


class FileNotFound(SandboxError):
    pass


class FileExists(SandboxError):
    pass


class DirectoryNotEmpty(SandboxError):
    pass


class IsADirectory(SandboxError):
    pass


class PythonClient:
    """requests, line-wise events, errors by word."""

    WORDS = (("no such file", FileNotFound), ("not found", FileNotFound), ("is a directory", IsADirectory),
             ("not empty", DirectoryNotEmpty), ("exists", FileExists))

    def __init__(self, url, secret):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers.update({"Authorization": f"Bearer {secret}", "Content-Type": "application/json"})

    def request(self, method, path, **options):
        for attempt in range(4):
            answer = self.session.request(method, self.url + path, timeout=BIG_TIMEOUT, **options)
            if answer.status_code != 503:
                break
            time.sleep(min(0.5 * 2**attempt, float(answer.headers.get("Retry-After", 1))))
        return answer

    def post(self, path, /, **payload):
        answer = self.request("POST", path, json=payload)
        answer.raise_for_status()
        body = answer.json()
        if path.startswith(("/write", "/read", "/delete", "/make", "/list")) and body.get("error"):
            for word, kind in self.WORDS:
                if word in body["error"].lower():
                    raise kind(body["error"])
            raise SandboxError(body["error"])
        return body

    def run(self, cmd, cwd=None, env=None):
        payload = {"cmd": cmd}
        if cwd:
            payload["cwd"] = cwd
        if env:
            payload["env"] = env
        return self.post("/run", **payload)

    def events(self, method, path, **options):
        with self.request(method, path, stream=True, headers={"Accept": "text/event-stream"}, **options) as answer:
            answer.raise_for_status()
            event = None
            for line in answer.iter_lines(decode_unicode=True):
                if not line or line.startswith(":"):
                    continue
                if line.startswith("event:"):
                    event = line[6:].strip()
                elif line.startswith("data:"):
                    yield event, json.loads(line[5:].strip())

    def run_streaming(self, cmd, on_stdout, on_stderr):
        code = None
        for event, data in self.events("POST", "/run_streaming", json={"cmd": cmd}):
            if event == "output":
                (on_stdout if data["stream"] == "stdout" else on_stderr)(data["data"])
            elif event == "complete":
                code = data["code"]
            elif event == "error":
                raise SandboxError(data["error"])
        return code

    def bind_port(self, port):
        return self.post("/bind_port", port=str(port))

    def unbind_port(self, port=None):
        return self.post("/unbind_port", **({"port": str(port)} if port is not None else {}))


class JavaScriptClient:
    """Bytes until a blank line, `event` compared exactly, a `recursive` field, missing lists are undefined."""

    EVENT = re.compile(r"^event: (.*)$", re.M)
    DATA = re.compile(r"^data: (.*)$", re.M)

    def __init__(self, host, port, secret):
        self.address, self.secret = (host, port), secret

    def fetch(self, method, path, payload=None):
        connection = http.client.HTTPConnection(*self.address, timeout=BIG_TIMEOUT)
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"}
        connection.request(method, path, None if payload is None else json.dumps(payload, ensure_ascii=False).encode(), headers)
        return connection.getresponse()

    def json(self, method, path, payload=None):
        answer = self.fetch(method, path, payload)
        return answer.status, json.loads(answer.read())

    def events(self, method, path, payload=None):
        answer, buffer = self.fetch(method, path, payload), ""
        decoder = codecs.getincrementaldecoder("utf-8")()
        while chunk := answer.read1(4096):
            buffer += decoder.decode(chunk)
            while "\n\n" in buffer:
                block, buffer = buffer.split("\n\n", 1)
                event, data = self.EVENT.search(block), self.DATA.search(block)
                if event and data:
                    yield event.group(1), json.loads(data.group(1))
        assert buffer == ""

    def read_dir(self, path):
        return self.json("POST", "/list_dir", {"path": path})[1]["entries"]

    def remove(self, path):
        return self.json("POST", "/delete_dir", {"path": path, "recursive": True})[1]["success"]


@pytest.fixture
def python(sandbox):
    return PythonClient(sandbox.url, sandbox.secret)


@pytest.fixture
def javascript(sandbox):
    return JavaScriptClient(sandbox.host, sandbox.port, sandbox.secret)


def test_health(python, javascript):
    assert python.request("GET", "/health").json() == {"status": "ok"}
    assert javascript.json("GET", "/health") == (200, {"status": "ok"})


def test_run(python, javascript):
    assert python.run("echo $X; pwd", cwd="/tmp", env={"X": "ü"})["stdout"] == "ü\n/tmp\n"
    status, answer = javascript.json("POST", "/run", {"cmd": "exit 2", "cwd": "", "env": None})
    assert (status, split_facts(answer)[0]) == (200, {"stdout": "", "stderr": "", "code": 2, "error": "Non-zero exit code"})
    with pytest.raises(requests.HTTPError, match="400"):
        python.run("true", cwd="/no/such")


def test_run_streaming(python, javascript):
    out, err = [], []
    assert python.run_streaming("for i in 1 2 3; do echo out $i; echo err $i >&2; done; exit 4", out.append, err.append) == 4
    assert (out, err) == (["out 1", "out 2", "out 3"], ["err 1", "err 2", "err 3"])
    *events, (name, ending) = javascript.events("POST", "/run_streaming", {"cmd": "echo '€uro'; echo; printf last"})
    assert events == [("output", {"stream": "stdout", "data": "€uro"}), ("output", {"stream": "stdout", "data": ""}),
                      ("output", {"stream": "stdout", "data": "last"})]
    assert (name, split_facts(ending)[0]) == ("complete", {"code": 0, "error": False})


def test_both_ignore_ids_and_the_time_to_reconnect(python, javascript, sandbox):
    """A log stream has all of it."""
    identifier = sandbox.start("echo a; echo b")["id"]
    sandbox.ended(identifier)
    path = f"/process_logs_streaming?id={identifier}"
    assert b"retry: 1000\nevent: log\n" in python.request("GET", path).content
    for events in (python.events("GET", path), javascript.events("GET", path)):
        assert [(name, data.get("data")) for name, data in events] == [("log", "a"), ("log", "b"), ("complete", None)]
    for events in (python.events("GET", path + "&tail=1&follow=0"), javascript.events("GET", path + "&tail=1&follow=0")):
        assert [(name, data.get("data")) for name, data in events] == [("log", "b"), ("complete", None)]


@pytest.mark.host
def test_both_ignore_keepalive_comments(make_server):
    server = make_server({"SANDBOX_STREAM_KEEPALIVE": "1s"})
    python, javascript = PythonClient(server.url, server.secret), JavaScriptClient(server.host, server.port, server.secret)
    fields = {"cmd": "echo a; sleep 2.5; echo b"}
    calls = (lambda: python.events("POST", "/run_streaming", json=fields), lambda: javascript.events("POST", "/run_streaming", fields))
    for events in in_threads(2, lambda number: list(calls[number]())):
        assert [data.get("data") for _, data in events] == ["a", "b", None]


def test_files(python, javascript, workdir):
    assert python.post("/make_dir", path=f"{workdir}/a/b")["success"]
    assert python.post("/write_file", path=f"{workdir}/a/b/file", content="ü\0\n")["success"]
    assert python.post("/read_file", path=f"{workdir}/a/b/file")["content"] == "ü\0\n"
    assert javascript.read_dir(f"{workdir}/a") == ["b"]
    assert javascript.remove(f"{workdir}/a") is True
    assert javascript.read_dir(workdir) == []
    assert javascript.remove(f"{workdir}/a") is True


def test_errors_are_known_by_their_words(python, workdir):
    python.post("/write_file", path=f"{workdir}/file", content="")
    for kind, path, name in ((FileNotFound, "/read_file", "none"), (FileNotFound, "/delete_file", "none"), (FileNotFound, "/list_dir", "none"),
                             (FileNotFound, "/write_file", "none/file"), (IsADirectory, "/read_file", ""), (IsADirectory, "/write_file", ""),
                             (IsADirectory, "/delete_file", ""), (FileExists, "/make_dir", "file")):
        with pytest.raises(kind):
            python.post(path, path=f"{workdir}/{name}", content="x")


def test_ports(python, javascript, proxy):
    assert python.bind_port(8080) == {"success": True, "message": "Port binding configured", "port": "8080"}
    assert javascript.json("POST", "/bind_port", {"port": "9090"}) == (
        409, {"success": False, "error": "Port already bound", "current_port": "8080"})
    assert python.unbind_port(8080)["success"] and python.unbind_port()["success"]
    assert javascript.json("POST", "/unbind_port") == (200, {"success": True, "message": "Port binding removed"})


def test_processes(python, javascript, sandbox):
    process = python.request("POST", "/start_process", json={"cmd": "echo ready; sleep 86400", "cwd": "/tmp", "env": {"A": "1"}})
    assert process.status_code == 201
    identifier = process.json()["id"]
    sandbox.started.append(identifier)
    assert any(row["id"] == identifier and row["status"] == "running" for row in javascript.json("GET", "/list_processes")[1]["processes"])
    logs = javascript.events("GET", f"/process_logs_streaming?id={identifier}")
    event, data = next(logs)
    assert (event, data["data"], data["stream"]) == ("log", "ready", "stdout")
    assert python.post("/kill_process", id=identifier)["success"]
    assert list(logs) == [("complete", {"message": "stream ended"})]
    assert javascript.json("POST", "/kill_process", {"id": identifier}) == (
        400, {"success": False, "error": "process is not running (status: killed)"})
    assert [name for name, _ in python.events("GET", f"/process_logs_streaming?id={identifier}")] == ["log", "complete"]
    assert list(python.events("GET", "/process_logs_streaming?id=none")) == [("error", {"error": "process not found: none"})]


@pytest.mark.host
def test_a_503_is_repeated_until_it_works(server, tmp_path):
    """The server's cap is not reached by accident: procd is away, and comes back while the client repeats."""
    client = PythonClient(server.url, server.secret)
    server.supervise("procd", "d")
    first = client.session.request("GET", server.url + "/health", timeout=TIMEOUT)
    assert first.status_code == 503
    server.supervise("procd", "u")
    wait_until(lambda: client.request("GET", "/health").status_code == 200, "health")
    client.run(f"echo once >>{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "once\n"
