"""
Three small clients in the manner of the published ones (an SDK in Python, one in JavaScript, a command line in Go), and what their
users do with them. They are as strict as those are: they make objects of what comes that take no other member, leave out empty members,
repeat requests after 503 or after every 5xx, take one `data:` line per event, and know errors by their words.
"""

import base64
import codecs
import dataclasses
import http.client
import json
import re
import time
from typing import Optional

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


@dataclasses.dataclass
class ProcessInfo:
    """All that an entry of the list may have."""

    id: str
    command: str
    status: str
    pid: Optional[int] = None
    exit_code: Optional[int] = None
    started_at: Optional[str] = None
    completed_at: Optional[str] = None


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

    def list_processes(self):
        """Each entry becomes an object: a member that it does not know raises."""
        return [ProcessInfo(**entry) for entry in self.request("GET", "/list_processes").json()["processes"]]

    def kill_all_processes(self):
        running = [process for process in self.list_processes() if process.status == "running"]
        for process in running:
            self.post("/kill_process", id=process.id)
        return len(running)

    def write_file(self, path, content, encoding="utf-8"):
        """The client encodes and decodes the base64 itself: the server sees text."""
        if isinstance(content, bytes):
            content = base64.b64encode(content).decode() if encoding == "base64" else content.decode(encoding)
        return self.post("/write_file", path=path, content=content)

    def read_file(self, path, encoding="utf-8"):
        content = self.post("/read_file", path=path).get("content", "")
        return base64.b64decode(content) if encoding == "base64" else content

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


class GoClient:
    """Empty members are left out, every 5xx is repeated, and what is decoded has the type that it is to have."""

    ENTRY = {"name": str, "is_dir": bool, "size": int, "mod_time": str, "mode": str}
    PORT = {"success": bool, "message": str, "port": str, "proxy_port": str, "current_port": str, "error": str}

    def __init__(self, url, secret):
        self.url, self.secret, self.asked = url, secret, 0

    def request(self, method, path, /, **members):
        body = json.dumps({name: value for name, value in members.items() if value not in ("", None, False, 0, {})}) if members else None
        for attempt in range(4):
            self.asked += 1
            answer = requests.request(method, self.url + path, data=body, timeout=BIG_TIMEOUT, headers={
                "Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"})
            if answer.status_code < 500:
                return answer
            time.sleep(attempt)
        raise SandboxError(f"status {answer.status_code}")

    @staticmethod
    def decoded(members, types):
        """Members that are not known are skipped, and one of another type is an error."""
        for name, kind in types.items():
            if name in members and (type(members[name]) is not kind):
                raise TypeError(f"{name}: {members[name]!r}")
        return {name: members.get(name, kind()) for name, kind in types.items()}

    def stat(self, path):
        answer = self.request("POST", "/stat_file", path=path).json()
        if answer.get("entry") is not None:
            return self.decoded(answer["entry"], self.ENTRY)
        raise SandboxError(answer["error"])

    def write_file(self, path, content):
        answer = self.decoded(self.request("POST", "/write_file", path=path, content=content).json(), {"success": bool, "error": str})
        if not answer["success"]:
            raise SandboxError(answer["error"])

    def read_file(self, path):
        answer = self.decoded(self.request("POST", "/read_file", path=path).json(), {"content": str, "is_base64": bool, "error": str})
        if answer["error"]:
            raise SandboxError(answer["error"])
        return base64.b64decode(answer["content"], validate=True) if answer["is_base64"] else answer["content"].encode()

    def upload(self, files, remote, force=False):
        """A tree, and not over one that is there already."""
        try:
            self.stat(remote)
            if not force:
                raise FileExists(remote)
        except FileExists:
            raise
        except SandboxError:
            pass
        self.request("POST", "/make_dir", path=remote)
        for name, content in files.items():
            self.write_file(f"{remote}/{name}", content)

    def port(self, method, path, /, **members):
        return self.decoded(self.request(method, path, **members).json(), self.PORT)

    def logs(self, identifier, follow):
        answer = self.request("GET", f"/process_logs_streaming?id={identifier}" + ("&follow=true" if follow else ""))
        if answer.status_code != 200:
            raise SandboxError(answer.text)
        return [json.loads(line[5:])["data"] for line in answer.text.split("\n") if line.startswith("data:") and '"data"' in line]


@pytest.fixture
def go(sandbox):
    return GoClient(sandbox.url, sandbox.secret)


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
    answer = python.bind_port(8080)
    assert answer == {"success": True, "message": "Port binding configured", "port": "8080", "proxy_port": answer["proxy_port"]}
    assert javascript.json("POST", "/bind_port", {"port": "9090"}) == (
        409, {"success": False, "error": "Port already bound", "error_code": "in_use", "current_port": "8080"})
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
        400, {"success": False, "error": "process is not running (status: killed)", "error_code": "not_running"})
    assert [name for name, _ in python.events("GET", f"/process_logs_streaming?id={identifier}")] == ["log", "complete"]
    assert list(python.events("GET", "/process_logs_streaming?id=none")) == [("error", {"error": "process not found: none", "error_code": "not_found"})]


def test_the_list_as_objects(python, sandbox):
    """One member more than a client's dataclass has, and it could neither list nor kill."""
    ended, running = sandbox.start("exit 3")["id"], sandbox.start("sleep 86400", cwd="/")["id"]
    assert sandbox.ended(ended) == "failed"
    listed = {process.id: process for process in python.list_processes()}
    assert (listed[ended].exit_code, listed[ended].command, listed[ended].status) == (3, "exit 3", "failed")
    assert listed[ended].completed_at > listed[ended].started_at
    assert listed[running].pid > 0 and listed[running].exit_code is None and listed[running].completed_at is None
    if sandbox.local:  # its processes are nobody else's
        running_now = sum(process.status == "running" for process in listed.values())
        assert python.kill_all_processes() == running_now and sandbox.status(running) == "killed"


def test_bytes(python, go, sandbox, workdir):
    """What one client writes another reads. Bytes that a command has written come whole to who decodes base64."""
    data = bytes(range(256)) * 300
    python.write_file(f"{workdir}/encoded", data, encoding="base64")
    assert python.read_file(f"{workdir}/encoded", encoding="base64") == data
    sandbox.shell(f"base64 -d <{workdir}/encoded >{workdir}/plain")
    assert python.read_file(f"{workdir}/plain", encoding="base64") == data and go.read_file(f"{workdir}/plain") == data
    assert go.read_file(f"{workdir}/encoded") == base64.b64encode(data)
    python.write_file(f"{workdir}/text", "ü€\n".encode())
    assert python.read_file(f"{workdir}/text") == "ü€\n" and go.read_file(f"{workdir}/text") == "ü€\n".encode()
    sandbox.shell(f"printf 'caf\\351\\n' >{workdir}/latin")  # a text with a byte that is no UTF-8 is still one
    assert python.read_file(f"{workdir}/latin") == "caf\ufffd\n"
    with pytest.raises(SandboxError, match="No such file"):
        go.read_file(f"{workdir}/none")


def test_values_that_are_empty(python, javascript, go, workdir):
    assert python.run("echo \"[$A]\"", env={"A": None})["stdout"] == "[]\n"
    nothing = {"stdout": "", "stderr": "", "code": 0}
    assert split_facts(python.run(""))[0] == nothing
    assert split_facts(javascript.json("POST", "/run", {"cmd": ""})[1])[0] == nothing
    go.write_file(f"{workdir}/__init__.py", "")
    assert go.read_file(f"{workdir}/__init__.py") == b"" and go.stat(f"{workdir}/__init__.py")["size"] == 0


def test_half_a_character(javascript, workdir):
    """A string that was cut between the halves of a character: JSON.stringify writes the half as an escape."""
    answer = javascript.fetch("POST", "/write_file", {"path": f"{workdir}/file", "content": "x"})
    assert answer.status == 200
    connection = http.client.HTTPConnection(*javascript.address, timeout=BIG_TIMEOUT)
    body = json.dumps({"path": f"{workdir}/file", "content": "a\ud83d"})
    connection.request("POST", "/write_file", body, {"Authorization": f"Bearer {javascript.secret}"})
    assert json.loads(connection.getresponse().read()) == {"success": True}
    assert javascript.json("POST", "/read_file", {"path": f"{workdir}/file"}) == (200, {"content": "a\ufffd"})


def test_a_tree_is_not_written_over(go, workdir):
    files = {"__init__.py": "", ".gitkeep": "", "x.txt": "ü"}
    go.upload(files, f"{workdir}/tree")
    assert go.stat(f"{workdir}/tree")["is_dir"] is True
    with pytest.raises(FileExists):
        go.upload(files, f"{workdir}/tree")
    go.upload(files, f"{workdir}/tree", force=True)
    assert go.request("POST", "/list_dir", path=f"{workdir}/tree").json() == {"entries": [".gitkeep", "__init__.py", "x.txt"]}
    entry = go.stat(f"{workdir}/tree/x.txt")
    assert (entry["name"], entry["size"], entry["mode"]) == ("x.txt", 2, "0644")
    with pytest.raises(SandboxError, match="(?i)no such file"):
        go.stat(f"{workdir}/none")


@pytest.mark.host  # a container may publish another port
def test_the_port_as_strings(go, sandbox, proxy):
    assert go.port("GET", "/port_status") == {**go.port("POST", "/unbind_port"), "message": "", "proxy_port": str(sandbox.proxy_port)}
    assert go.port("POST", "/bind_port", port="8080")["success"]
    assert go.port("POST", "/bind_port", port="8081")["current_port"] == "8080"
    assert go.port("GET", "/port_status")["port"] == "8080"
    assert go.port("POST", "/unbind_port")["success"] and go.port("GET", "/port_status")["port"] == ""


def test_logs_that_are_followed(go, sandbox):
    identifier = sandbox.start("echo a; sleep 0.2; echo b")["id"]
    assert go.logs(identifier, True) == ["a", "b"] and go.logs(identifier, False) == ["a", "b"]


@pytest.mark.host
def test_a_command_that_was_lost_is_not_repeated(server, marker, tmp_path):
    """A client that repeats every 5xx asks once."""
    client = GoClient(server.url, server.secret)
    answers = in_threads(2, lambda number: client.request("POST", "/run", cmd=f"echo x >>{tmp_path}/ran; exec {marker.sleep}") if number else (
        marker.sleeping(server), server.kill_daemon("fcgi-app")))
    assert (answers[1].status_code, answers[1].json()["may_have_run"], client.asked) == (409, True, 1)
    server.healthy()
    assert (tmp_path / "ran").read_text() == "x\n"


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
