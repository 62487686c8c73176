"""
What is asked while a call fails, and what must hold whichever it was. A case is a class with

    prepare()       before, when nothing fails
    request()       the requests themselves; what they return is given to check()
    check(answer)   when nothing fails any more: fails the test where something was half-done

`Answer` is what a client makes of what came: a JSON object with its status, or a cut one.
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import shutil
import struct
import threading
import time
import uuid

import requests

from sandbox import TIMEOUT, EventStream, user_ids, wait_until

NOT_DONE = "not done"
DONE = "done"
UNKNOWN = "it may have been done"


# What a failing chdir(2) and a failing write to a command's input look like.
CLIENTS_FAULT = ("Invalid working directory", "process has no open stdin")


class Answer:
    """status and JSON body; `body` is None of an answer that was cut, which must not look whole."""

    def __init__(self, status, body):
        self.status, self.body = status, body

    def __repr__(self):
        return f"{self.status} {json.dumps(self.body):.300}"

    @property
    def ok(self):
        return self.status in (200, 201) and self.body is not None and "error" not in self.body

    @property
    def outcome(self):
        """What the client is entitled to believe of a request that changes something."""
        if self.ok:
            return DONE
        if self.body is None or self.body.get("may_have_run"):
            return UNKNOWN
        return NOT_DONE


def parse(status, text):
    """A whole answer: JSON, with an error that says something where it is one."""
    try:
        body = json.loads(text)
    except ValueError:
        assert status == 200 and not text.endswith("}"), f"neither JSON nor cut: {status} {text[-300:]!r}"
        return Answer(status, None)
    assert isinstance(body, dict), text[:300]
    assert status in (200, 201, 500, 503) or (status == 409 and (body.get("may_have_run") is True or body["error_code"] == "not_running")) or (status == 400 and body["error"].startswith(CLIENTS_FAULT)), (status, text[:300])
    if status in (200, 201):
        assert "error" not in body or body["error"], text[:300]
    else:
        assert body["error"], text[:300]
    return Answer(status, body)


class Case:
    def __init__(self, server, work):
        self.server, self.work = server, pathlib.Path(work)
        self.count = 0

    def ask(self, method, path, body=None, **options):
        try:
            response = self.server.call(method, path, body, **options)
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError) as error:
            assert "timed out" not in str(error), f"hangs: {error}"
            return Answer(200, None)
        return parse(self.status_of(response), response.text)

    def status_of(self, response):
        return response.status_code

    def post(self, endpoint, /, **fields):
        return self.ask("POST", endpoint, fields)

    def stream(self, method, path, body=None, meanwhile=lambda: None):
        """The events of a stream; a JSON answer instead is one `error` event. `meanwhile` is done when it has begun."""
        end = time.monotonic() + TIMEOUT
        with EventStream(self.server, method, path, body) as stream:
            meanwhile()
            while stream.read_some():
                assert time.monotonic() < end, f"the stream does not end: {bytes(stream.raw)!r}"
            raw = stream.raw.decode()
            if stream.status != 200 or stream.headers["Content-Type"] != "text/event-stream; charset=utf-8":
                return [("error", parse(stream.status, raw).body)]
        blocks = [block for block in raw.split("\n\n") if "\ndata: " in f"\n{block}"]
        if not raw.endswith("\n\n"):
            blocks = blocks[:-1]  # the torn end of a cut one
        fields = ([line.split(": ", 1) for line in block.split("\n")] for block in blocks)
        pairs = [{name: value for name, value in lines} for lines in fields]
        return [(pair["event"], json.loads(pair["data"])) for pair in pairs]

    def prepare(self):
        self.count += 1

    def check(self, answer):
        pass

    # -- jobs --

    def start(self, cmd, **fields):
        identifier = self.server.post("/start_process", cmd=cmd, **fields).json()["id"]
        self.server.started.append(identifier)
        return identifier

    def finished(self, cmd="echo one; echo two >&2"):
        identifier = self.start(cmd)
        self.server.post("/wait_process", id=identifier)
        return identifier


class Health(Case):
    def request(self):
        return self.ask("GET", "/health")


class Run(Case):
    """Whatever the answer is, the command has run once, or not at all if the answer says so."""

    fields = {"env": {"WHO": "me"}, "stdin": "in"}
    output = {"stdout": "in me", "stderr": "err", "code": 0}

    def prepare(self):
        super().prepare()
        self.ran = self.work / f"ran-{self.count}"

    def command(self):
        return f"echo ran >>{self.ran}; cat; echo -n ' '$WHO; echo -n err >&2"

    def request(self):
        return self.post("/run", cmd=self.command(), cwd=str(self.work), **self.fields)

    def ran_times(self):
        return self.ran.read_text().count("ran\n") if self.ran.exists() else 0

    def check_ran(self, outcome):
        assert self.ran_times() <= 1, "it has run twice"
        assert outcome != DONE or self.ran_times() == 1, "it has not run"
        assert outcome != NOT_DONE or self.ran_times() == 0, "it has run"

    def check(self, answer):
        if answer.ok:
            assert self.output.items() <= answer.body.items(), answer
        started = answer.body is None or answer.status == 200 or not answer.body["error"].startswith(
            ("Cannot start", "Cannot limit", "Invalid working", "The procd daemon is not", "Out of memory", "Request body"))
        self.check_ran(DONE if answer.ok else UNKNOWN if started else NOT_DONE)


class RunAsUser(Run):
    """The user that runs it is SANDBOX_USER, with nothing else."""

    identity = None

    def command(self):
        return f"{super().command()}; grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):' /proc/self/status >>{self.ran}"

    def check(self, answer):
        super().check(answer)
        ran = self.ran.read_text().removeprefix("ran\n") if self.ran.exists() else ""
        if self.identity is None:
            uid, gid = user_ids(self.server.settings["SANDBOX_USER"])
            lines = ["\t".join(["Uid:", *[str(uid)] * 4]), "\t".join(["Gid:", *[str(gid)] * 4]), f"Groups:\t{gid} "]
            lines += [f"Cap{kind}:\t{0:016}" for kind in ("Inh", "Prm", "Eff", "Amb")]
            self.identity = "".join(f"{line}\n" for line in (*lines, "NoNewPrivs:\t1"))
            assert ran == self.identity
        assert self.identity.startswith(ran) and (ran or not answer.ok), ran


class RunLarge(Run):
    """Output, errors, input, body and command that do not fit into memory, a pipe and an argument."""

    fields = {"stdin": "x" * 300_000}
    output = {"stdout": "x" * 300_000, "stderr": "y" * 200_000, "code": 0}

    def command(self):
        return f"echo ran >>{self.ran}; cat; head -c 200000 /dev/zero | tr '\\0' y >&2; : {'z' * 140_000}"


class RunArgv(Run):
    """A program of its own, and bytes."""

    fields = {"env": {"WHO": "me"}, "stdin": "aW4=", "stdin_encoding": "base64", "output_encoding": "base64"}
    output = {"stdout": "aW4gbWU=", "stderr": "ZXJy", "code": 0}

    def request(self):
        return self.post("/run", argv=["sh", "-c", self.command()], cwd=str(self.work), **self.fields)

    def check(self, answer):
        if answer.body is not None and answer.body.get("error", "").startswith("Cannot execute"):
            self.check_ran(NOT_DONE)
        else:
            super().check(answer)


class ListRuns(Case):
    def prepare(self):
        super().prepare()
        self.server.run(f": {self.count}")

    def request(self):
        return self.ask("GET", "/list_runs")

    def check(self, answer):
        assert not answer.ok or answer.body["runs"][-1]["command"] == f": {self.count}"


class KillRun(Case):
    """An order to a command that runs: nothing of it is left, and the list has its end."""

    def prepare(self):
        super().prepare()
        self.mark = f"86400.{uuid.uuid4().int % 10**15:015d}"
        self.client = threading.Thread(target=self.run, daemon=True)
        self.client.start()
        self.id = wait_until(self.listed, "the run to be listed")["id"]

    def run(self):
        with contextlib.suppress(requests.RequestException):  # a daemon may die
            self.server.call("POST", "/run", {"cmd": f"setsid sleep {self.mark} & sleep {self.mark}"}, timeout=10 * TIMEOUT)

    def listed(self):
        runs = [run for run in self.server.get("/list_runs").json()["runs"] if self.mark in run["command"]]
        return runs[0] if runs else None

    def request(self):
        return self.post("/kill_run", id=self.id)

    def check(self, answer):
        self.server.post("/kill_run", id=self.id)
        wait_until(lambda: self.listed()["status"] == "ended", "the end of the run")
        assert not answer.ok or self.listed()["reason"] in ("killed", "lost", "failed"), answer
        wait_until(lambda: not self.server.find(self.mark), "the end of the tree")
        self.client.join()


class RunTimeout(Case):
    """A tree that is ended: nothing of it is left."""

    def prepare(self):
        super().prepare()
        self.mark = f"86400.{uuid.uuid4().int % 10**15:015d}"

    def request(self):
        return self.post("/run", cmd=f"setsid sleep {self.mark} & sleep {self.mark}", timeout_ms=30, kill_grace_ms=10)

    def check(self, answer):
        if answer.ok:
            assert answer.body["reason"] == "timeout"
        wait_until(lambda: not self.server.find(self.mark), "the end of the tree")


class RunStreaming(Run):
    def request(self):
        return self.stream("POST", "/run_streaming", {"cmd": self.command(), "cwd": str(self.work), **self.fields})

    def check(self, answer):
        name, data = answer[-1] if answer else ("cut", {})
        if name == "complete":
            lines = sorted((event["stream"], event["data"]) for kind, event in answer[:-1] if kind == "output")
            assert (data["code"], lines) == (0, [("stderr", "err"), ("stdout", "in me")]), answer
        told = name == "error" and data["error"].startswith(("Cannot start", "Cannot limit", "Invalid working", "The procd daemon is not"))
        self.check_ran(DONE if name == "complete" else NOT_DONE if told else UNKNOWN)


class WriteFile(Case):
    """The old content or the new one, and nothing beside it."""

    old, new = "old", "new ü\0"

    def prepare(self):
        super().prepare()
        self.directory = self.work / f"write-{self.count}"
        self.directory.mkdir()
        self.path = self.directory / "file"
        if self.old is not None:
            self.path.write_text(self.old)

    def content(self):
        return self.path.read_text() if self.path.exists() else None

    def request(self):
        return self.post("/write_file", path=str(self.path), content=self.new)

    def check(self, answer):
        expected = {DONE: [self.new], NOT_DONE: [self.old], UNKNOWN: [self.old, self.new]}[answer.outcome]
        assert self.content() in expected, f"{answer}: {self.content()!r:.100}"
        assert os.listdir(self.directory) in ([], ["file"]), "a temporary file is left"


class WriteLarge(WriteFile):
    old, new = "old" * 100_000, "new\n" * 200_000


class WriteWithList(WriteFile):
    """The file has an access control list and an attribute, and keeps them whatever fails."""

    old = "a longer old content"
    list = struct.pack("<I" + "HHI" * 5, 2, 1, 6, 0xffffffff, 2, 6, 12345, 4, 0, 0xffffffff, 16, 6, 0xffffffff, 32, 0, 0xffffffff)

    def prepare(self):
        super().prepare()
        self.path.chmod(0o600)
        self.expected = {"system.posix_acl_access": self.list, "user.note": b"kept"}
        for name, value in tuple(self.expected.items()):
            try:
                os.setxattr(self.path, name, value)
            except OSError:  # a file system without them
                del self.expected[name]
        self.mode = self.path.stat().st_mode

    def check(self, answer):
        super().check(answer)
        assert {name: os.getxattr(self.path, name) for name in self.expected} == self.expected
        assert self.path.stat().st_mode == self.mode


class WriteNew(WriteFile):
    old = None

    def request(self):
        return self.post("/write_file", path=str(self.directory / "file"), content=self.new)


class WriteFiles(WriteFile):
    """The result of a file says what has become of it."""

    def request(self):
        answer = self.post("/write_files", files=[{"path": str(self.path), "content": self.new}])
        if answer.ok:
            (result,) = answer.body["results"]
            assert result["success"] is ("error" not in result)
            answer.body = result
        return answer


class EditFile(WriteFile):
    old, new = "a\n" * 50_000, "other\n" * 50_000

    def status_of(self, response):
        return 500 if response.status_code == 507 else response.status_code

    def request(self):
        return self.post("/edit_file", path=str(self.path), edits=[{"old_str": "a", "new_str": "x", "expected_count": 50_000}, {"old_str": "x\n" * 50_000, "new_str": self.new}])


class PutFile(WriteFile):
    """The same by the body itself."""

    old, new = "old" * 1000, "new\n" * 50_000

    def request(self):
        return self.raw("PUT", self.path, self.new.encode())

    def raw(self, method, path, body=None):
        return self.as_it_is(method, f"/files{path}", body)

    def as_it_is(self, method, target, body=None, headers=None):
        """Statuses of /files and /uploads are HTTP's own; their answers are JSON if they are errors."""
        try:
            response = self.server.call(method, target, body, headers=headers)
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError) as error:
            assert "timed out" not in str(error), f"hangs: {error}"
            return Answer(200, None)
        if int(response.headers.get("Content-Length", 0)) != len(response.content):  # requests does not look
            return Answer(200, None)
        if response.status_code < 300:
            return Answer(200, {"content": response.text})
        assert response.json()["error"] and response.json()["error_code"], response.text
        return Answer(response.status_code, response.json())


class PutInPlace(PutFile):
    """The file has another name, too, and keeps it."""

    def prepare(self):
        super().prepare()
        os.link(self.path, self.work / f"other-{self.count}")

    def check(self, answer):
        damaged = answer.body and "some of the new content" in answer.body.get("error", "")
        assert damaged or self.content() in (self.old, self.new)
        assert not answer.ok or self.content() == self.new
        assert self.path.stat().st_nlink == 2


class UploadFile(PutFile):
    """The last bytes of an upload. Whatever failed, it goes on from what is there."""

    TUS = {"Tus-Resumable": "1.0.0"}

    def prepare(self):
        super().prepare()
        path = base64.b64encode(os.fsencode(self.path)).decode()
        begun = self.server.call("POST", "/uploads", headers={**self.TUS, "Upload-Length": str(len(self.new)), "Upload-Metadata": f"path {path}"})
        assert begun.status_code == 201, begun.text
        self.upload = "/" + begun.headers["Location"]

    def patch(self, offset):
        return self.as_it_is("PATCH", self.upload, self.new.encode()[offset:], {**self.TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": str(offset)})

    def request(self):
        return self.patch(0)

    def check(self, answer):
        assert self.content() == self.new if answer.ok else self.content() in (self.old, self.new)
        state = self.server.call("HEAD", self.upload, headers=self.TUS)
        assert state.status_code == 200, state.status_code
        offset = int(state.headers["Upload-Offset"])
        assert offset == len(self.new) or self.patch(offset).ok
        assert self.content() == self.new and os.listdir(self.directory) == ["file"]


class GetFile(PutFile):
    """Whole or cut."""

    def request(self):
        return self.raw("GET", self.path)

    def check(self, answer):
        assert not answer.ok or answer.body["content"] == self.old


class GetLarge(GetFile):
    old = "old" * 100_000


class ReadFile(Case):
    def prepare(self):
        super().prepare()
        self.path = self.work / "read"
        self.path.write_text("content " * 20_000)

    def request(self):
        return self.post("/read_file", path=str(self.path))

    def check(self, answer):
        assert not answer.ok or answer.body == {"content": self.path.read_text()}


class SearchTree(Case):
    """Whatever fails, a tree is not reported whole when something of it was not seen."""

    def prepare(self):
        super().prepare()
        self.path = self.work / "searched"
        for name in ("a/b/one", "a/two", "three"):
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_text("filler\n" * 5000 + "needle 1\n")

    def request(self):
        return self.post("/search_files", path=str(self.path), pattern="need[l]e \\d", glob="{one,t*}", context_lines=1)

    def check(self, answer):
        if answer.ok and not answer.body["unreadable"]:
            assert [match["line"] for match in answer.body["matches"]] == [5001] * 3, answer


class FindTree(SearchTree):
    def request(self):
        return self.post("/find_files", path=str(self.path))

    def check(self, answer):
        if answer.ok and not answer.body["unreadable"]:
            assert [entry["name"] for entry in answer.body["entries"]] == ["a", "b", "one", "two", "three"], answer


class FileChanges(Case):
    """Whatever fails, a client knows of each change, or that it may not."""

    def prepare(self):
        super().prepare()
        self.path = self.work / f"watched-{self.count}"
        (self.path / "old/deep").mkdir(parents=True)
        if (user := self.server.settings.get("SANDBOX_USER")) is not None:
            os.chown(self.path, *user_ids(user))

    def change(self):
        (self.path / "old/deep/one").mkdir()
        (self.path / "new/deep").mkdir(parents=True)
        (self.path / "new/deep/two").mkdir()
        shutil.rmtree(self.path)

    def request(self):
        return self.stream("GET", f"/file_changes_streaming?recursive=1&path={self.path}", meanwhile=self.change)

    def check(self, answer):
        kinds = [kind for kind, _ in answer]
        if kinds[-1:] == ["complete"] and "gap" not in kinds:
            assert ("removed", {"path": str(self.path / "old"), "is_dir": True}) in answer, answer
            assert ("removed", {"path": str(self.path), "is_dir": True}) in answer, answer
        shutil.rmtree(self.path, ignore_errors=True)


class ReadFiles(ReadFile):
    def request(self):
        return self.post("/read_files", paths=[str(self.path), str(self.path)])

    def check(self, answer):
        if answer.ok:
            assert len(answer.body["results"]) == 2
            for result in answer.body["results"]:
                assert "error" in result or result["content"] == self.path.read_text()


class DeleteFile(Case):
    def prepare(self):
        super().prepare()
        self.path = self.work / "delete"
        self.path.write_text("x")

    def request(self):
        return self.post("/delete_file", path=str(self.path))

    def check(self, answer):
        assert answer.outcome == UNKNOWN or self.path.exists() == (answer.outcome == NOT_DONE), answer


class MakeDir(Case):
    def prepare(self):
        super().prepare()
        self.path = self.work / f"make-{self.count}" / "b" / "c"

    def request(self):
        return self.post("/make_dir", path=str(self.path))

    def check(self, answer):
        assert not answer.ok or self.path.is_dir(), answer


class DeleteDir(Case):
    """What could not be deleted can be deleted later."""

    def prepare(self):
        super().prepare()
        self.path = self.work / "tree"
        (self.path / "a" / "b").mkdir(parents=True, exist_ok=True)
        (self.path / "a" / "b" / "file").write_text("x")
        (self.path / "link").unlink(missing_ok=True)
        (self.path / "link").symlink_to("/etc")

    def request(self):
        return self.post("/delete_dir", path=str(self.path))

    def check(self, answer):
        assert not answer.ok or not self.path.exists(), answer
        assert self.server.post("/delete_dir", path=str(self.path)).json() == {"success": True}


class ListDir(Case):
    def prepare(self):
        super().prepare()
        self.path = self.work / "list"
        self.path.mkdir(exist_ok=True)
        for name in "abc":
            (self.path / name).touch()

    def request(self):
        return self.post("/list_dir", path=str(self.path))

    def check(self, answer):
        assert not answer.ok or answer.body == {"entries": ["a", "b", "c"]}


class ListDetails(ListDir):
    def request(self):
        return self.post("/list_dir", path=str(self.path), details=True)

    def check(self, answer):
        assert not answer.ok or [entry["name"] for entry in answer.body["entries"]] == ["a", "b", "c"]


class CopyTree(Case):
    """The copy is whole or missing. Statuses of the newer calls are HTTP's own."""

    endpoint = "/copy_file"

    def status_of(self, response):
        assert response.status_code < 500 or "copied, but" not in response.text
        return 200 if response.status_code in (403, 404, 507) or response.status_code == 409 and "may_have_run" not in response.text else response.status_code

    def prepare(self):
        super().prepare()
        self.directory = self.work / f"copy-{self.count}"
        self.path = self.directory / "tree"
        (self.path / "a" / "b").mkdir(parents=True)
        (self.path / "a" / "file").write_text("content\n" * 10_000)
        (self.path / "a" / "link").symlink_to("/etc")
        os.mkfifo(self.path / "fifo")

    def request(self):
        return self.post(self.endpoint, **{"from": str(self.path), "to": str(self.directory / "copy")})

    def is_whole(self, path):
        names = sorted(os.path.relpath(found, path) for found in path.rglob("*"))
        return names == ["a", "a/b", "a/file", "a/link", "fifo"] and (path / "a" / "file").read_text() == "content\n" * 10_000

    def check(self, answer):
        copy = self.directory / "copy"
        assert self.is_whole(copy) if copy.exists() else not answer.ok, answer
        assert self.endpoint == "/move_file" or self.is_whole(self.path)
        left = [name for name in os.listdir(self.directory) if name.startswith(".sandbox-")]
        assert not left or not answer.ok, "a temporary tree is left"


class MoveTree(CopyTree):
    endpoint = "/move_file"

    def check(self, answer):
        super().check(answer)
        assert (self.directory / "copy").exists() != self.path.exists()


class SetModes(CopyTree):
    def request(self):
        return self.post("/set_mode", path=str(self.path), mode="700", recursive=True)

    def check(self, answer):
        modes = {path.stat().st_mode & 0o777 for path in (self.path, self.path / "a", self.path / "a" / "b", self.path / "a" / "file", self.path / "fifo")}
        assert not answer.ok or modes == {0o700}


class BindPort(Case):
    """Bound or not; whatever it was, it can be unbound and bound again."""

    def prepare(self):
        super().prepare()
        assert self.server.post("/unbind_port").status_code == 200

    def request(self):
        return self.post("/bind_port", port="8080")

    def check(self, answer):
        now = self.server.post("/bind_port", port="8081")
        bound = now.status_code == 409
        assert not bound or now.json()["current_port"] == "8080"
        assert bound == (answer.outcome == DONE) or answer.outcome == UNKNOWN, answer


class UnbindPort(Case):
    def prepare(self):
        super().prepare()
        assert self.server.post("/bind_port", port="8080").status_code in (200, 409)

    def request(self):
        return self.post("/unbind_port")

    def check(self, answer):
        bound = self.server.post("/bind_port", port="8081").status_code == 409
        assert bound == (answer.outcome == NOT_DONE) or answer.outcome == UNKNOWN, answer
        self.server.post("/unbind_port")


class SharePort(Case):
    """It is shared or not, and never more than the answer says."""

    def request(self):
        return self.ask("POST", "/share_port", {"port": 8080}, headers={"Host": "localhost:3000"})

    def check(self, answer):
        ended = self.server.post("/unshare_port", port=8080)
        assert ended.status_code == 200 and not list((self.server.run_dir / "port").glob("*share-*"))
        assert ended.json()["ended"] == (1 if answer.outcome == DONE else 0) or answer.outcome == UNKNOWN, answer


class UnsharePort(Case):
    def prepare(self):
        super().prepare()
        shared = self.server.call("POST", "/share_port", {"port": 8080}, headers={"Host": "localhost:3000"})
        assert shared.status_code == 200, shared.text

    def request(self):
        return self.post("/unshare_port", port=8080)

    def check(self, answer):
        ended = self.server.post("/unshare_port", port=8080).json()["ended"]
        assert ended == (0 if answer.outcome == DONE else 1) or answer.outcome == UNKNOWN, answer


class StartProcess(Case):
    """Listed and running, or neither; what was not started has not run."""

    fields = {}

    def prepare(self):
        super().prepare()
        self.mark = f"86400.{uuid.uuid4().int % 10**15:015d}"
        self.ran = self.work / f"started-{self.count}"

    def request(self):
        return self.post("/start_process", cmd=f"echo ran >>{self.ran}; sleep {self.mark}", cwd=str(self.work), **self.fields)

    def listed(self):
        return [process for process in self.server.processes(full=True) if self.mark in process["command"]]

    def check(self, answer):
        if answer.ok:
            wait_until(self.ran.exists, "the command to run")
            process, = wait_until(self.listed, "the process to be listed")
            assert (process["id"], process["pid"], process["status"]) == (answer.body["id"], answer.body["pid"], "running")
        if answer.outcome == NOT_DONE:
            assert not self.listed(), answer
            wait_until(lambda: not self.server.find(self.mark), "nothing of what was not started")
            assert not self.ran.exists(), f"it has run: {answer}"
        wait_until(self.ended, "the end of the process")

    def ended(self):
        """Ends what is there, also what comes later because nobody waited for its answer."""
        for process in self.listed():
            if process["status"] == "running":
                killed = self.server.post("/kill_process", id=process["id"])
                assert killed.status_code == 200, killed.text
            assert self.server.post("/delete_process", id=process["id"]).status_code == 200
        return not self.server.find(self.mark)


class StartWithInput(StartProcess):
    fields = {"stdin": True, "timeout_ms": 60_000}


class StartTerminal(StartProcess):
    fields = {"pty": {"cols": 100, "rows": 30}}


class StartAndWait(StartProcess):
    """Once it has been started the answer is a 201 or says that it may have been."""

    fields = {"wait_port": 1, "wait_timeout_ms": 30}

    def check(self, answer):
        assert not answer.ok or answer.body["listening"] is False, answer
        super().check(answer)


class OfPorts(Case):
    """A question about the ports, while a job listens on one."""

    port = None

    def prepare(self):
        super().prepare()
        if self.port is None:
            said = self.work / "port"
            script = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); open('port.new', 'w').write(str(s.getsockname()[1])); time.sleep(86400)"
            self.start(f'python3 -c "{script}" & while ! [ -s port.new ]; do sleep 0.01; done; mv port.new port; wait', cwd=str(self.work))
            wait_until(said.exists, "the port")
            self.port = int(said.read_text())

    def check(self, answer):
        assert not answer.ok or self.port in [row["port"] for row in answer.body["ports"]], answer


class ListPorts(OfPorts):
    def request(self):
        return self.ask("GET", "/list_ports")


class FollowPorts(OfPorts):
    def request(self):
        with EventStream(self.server, "GET", "/ports_streaming") as stream:
            if stream.status != 200:
                return parse(stream.status, stream.read_all().decode())
            event = next(iter(stream), None)
            return Answer(200, event and event.data)


class WaitPort(OfPorts):
    def request(self):
        return self.post("/wait_port", port=self.port, timeout_ms=30)

    def check(self, answer):
        assert not answer.ok or answer.body["listening"] is True, answer


class Life(Case):
    """A whole short job, while one call of its runner fails: it ends, is on record, and its log ends."""

    fields = {"cmd": "echo one; echo two >&2; exit 3"}

    def request(self):
        answer = self.post("/start_process", **self.fields)
        self.id = answer.body["id"] if answer.ok else None
        if self.id:
            self.server.post("/wait_process", id=self.id, timeout_ms=8000)
        return answer

    def check(self, answer):
        if not self.id:
            return
        process = wait_until(lambda: self.ended(), "the job to end")
        # A pipe that could not be read is closed, to who writes into it.
        assert process["status"] == "failed" and (process["reason"] in ("exit", "lost") or process["signal"] == "SIGPIPE"), process
        assert process["reason"] == "lost" or process["exit_code"] == 3, process
        events = self.stream("GET", f"/process_logs_streaming?id={self.id}")
        assert events[-1] == ("complete", {"message": "stream ended"}), events
        assert {data["data"] for kind, data in events if kind == "log"} <= {"one", "two"}, events
        assert self.server.post("/delete_process", id=self.id).status_code == 200

    def ended(self):
        response = self.server.get(f"/get_process?id={self.id}")
        assert response.status_code in (200, 404)  # procd had no descriptor to look at it yet
        return response.status_code == 200 and response.json()["status"] != "running" and response.json()


class TerminalLife(Life):
    """The same with a terminal: what its log has is in its place, and what it has not is counted."""

    fields = {"cmd": "echo one; echo two; exit 3", "pty": {}}

    def check(self, answer):
        if not self.id:
            return
        process = wait_until(lambda: self.ended(), "the job to end")
        assert process["status"] == "failed" and (process["reason"] == "lost" or process["exit_code"] == 3), process
        whole = b"one\r\ntwo\r\n"
        for path in (self.server.run_dir / "state/jobs" / self.id).glob("bytes.*"):
            at, part = int(path.name.removeprefix("bytes.")), path.read_bytes()
            assert part == whole[at:at + len(part)], (at, part)
        assert process["reason"] == "lost" or process["pty"].get("next_offset", len(whole)) == len(whole), process
        assert self.server.post("/delete_process", id=self.id).status_code == 200


class OfFinished(Case):
    """A question about a job that has ended."""

    def prepare(self):
        super().prepare()
        self.id = self.finished()


class ListProcesses(OfFinished):
    def request(self):
        return self.ask("GET", "/list_processes")

    def check(self, answer):
        assert not answer.ok or self.id in [process["id"] for process in answer.body["processes"]]


class ListMany(ListProcesses):
    """More than one write."""

    def prepare(self):
        while self.count < 30:
            super().prepare()
        self.count += 1


class GetProcess(OfFinished):
    def request(self):
        return self.ask("GET", f"/get_process?id={self.id}")

    def check(self, answer):
        assert not answer.ok or (answer.body["id"], answer.body["status"]) == (self.id, "completed")


class ReadOutput(OfFinished):
    """Of a job that has ended: all of it, in two parts."""

    def request(self):
        first = self.post("/read_output", id=self.id, max_bytes=4, timeout_ms=5000)
        if not first.ok:
            return first
        rest = self.post("/read_output", id=self.id, offset=first.body["next_offset"], timeout_ms=5000)
        return rest if not rest.ok else Answer(200, {**rest.body, "output": first.body["output"] + rest.body["output"]})

    def check(self, answer):
        assert not answer.ok or (answer.body["output"], answer.body["why"]) == ("one\ntwo\n", "ended"), answer


class TypeAndRead(Case):
    """What is typed is read once, or the answer does not say that it was."""

    def prepare(self):
        super().prepare()
        self.id = self.start("exec cat", stdin=True)

    def request(self):
        return self.post("/read_output", id=self.id, data="typed\n", until="typed", timeout_ms=5000)

    def check(self, answer):
        assert not answer.ok or (answer.body["output"], answer.body["written"]) == ("typed", 6), answer


class TypeInTerminal(TypeAndRead):
    def prepare(self):
        Case.prepare(self)
        self.id = self.start("exec cat", pty={})


class ReadScreen(Case):
    def prepare(self):
        super().prepare()
        self.id = self.start("printf 'one\\033[2;2Htwo'", pty={"cols": 9, "rows": 2})
        self.server.post("/wait_process", id=self.id)

    def request(self):
        return self.ask("GET", f"/read_screen?id={self.id}")

    def check(self, answer):
        assert not answer.ok or (answer.body["screen"], answer.body["status"]) == ("one\n two", "completed"), answer


class WaitProcess(OfFinished):
    def prepare(self):
        super().prepare()
        self.id = self.start("sleep 0.05")

    def request(self):
        return self.post("/wait_process", id=self.id, timeout_ms=5000)

    def check(self, answer):
        assert not answer.ok or answer.body["status"] == "completed", answer


class DeleteProcess(OfFinished):
    def request(self):
        return self.post("/delete_process", id=self.id)

    def check(self, answer):
        known = self.server.get(f"/get_process?id={self.id}").status_code == 200
        assert answer.outcome == UNKNOWN or known == (answer.outcome == NOT_DONE), answer


class Logs(OfFinished):
    def request(self):
        return self.stream("GET", f"/process_logs_streaming?id={self.id}")

    def check(self, answer):
        lines = sorted(data["data"] for kind, data in answer if kind == "log")
        lost = sum(data["missed_lines"] for kind, data in answer if kind == "gap")
        assert set(lines) <= {"one", "two"} and len(lines) <= 2, answer
        assert len(lines) == 2 or lost or answer[-1:] != [("complete", {"message": "stream ended"})], answer


class LogsResumed(OfFinished):
    def prepare(self):
        super().prepare()
        with self.server.logs(self.id) as stream:
            self.cursor = stream.next().id

    def request(self):
        return self.stream("GET", f"/process_logs_streaming?id={self.id}&cursor={self.cursor}")

    def check(self, answer):
        if answer and answer[-1][0] == "complete":
            assert len(answer) == 2, answer


class LogsLive(Case):
    """A stream that is followed to the job's end."""

    def prepare(self):
        super().prepare()
        self.id = self.start("sleep 0.05; echo one; sleep 0.05; echo two")

    request = Logs.request
    check = Logs.check


class OfRunning(Case):
    """An order to a job that runs."""

    def prepare(self):
        super().prepare()
        self.mark = f"86400.{uuid.uuid4().int % 10**15:015d}"
        self.id = self.start(f"cat; sleep {self.mark}", stdin=True)

    def status(self):
        return self.server.get(f"/get_process?id={self.id}").json()["status"]

    def check(self, answer):
        self.server.post("/kill_process", id=self.id)
        wait_until(lambda: self.status() != "running", "the end of the job")
        wait_until(lambda: not self.server.find(self.mark), "the end of its tree")
        assert self.server.post("/delete_process", id=self.id).status_code == 200


class KillProcess(OfRunning):
    fields = {}

    def request(self):
        return self.post("/kill_process", id=self.id, **self.fields)

    def check(self, answer):
        if answer.ok:
            assert self.status() in ("killed", "failed"), answer
        super().check(answer)


class KillWithGrace(KillProcess):
    fields = {"signal": "TERM", "grace_ms": 1000}


class WriteStdin(OfRunning):
    def request(self):
        return self.post("/write_stdin", id=self.id, data="some\n", eof=True)

    def check(self, answer):
        if answer.ok:
            assert answer.body["written"] == 5, answer
            wait_until(lambda: self.server.find(f"sleep {self.mark}"), "cat to end")
        super().check(answer)


class OfTerminal(OfRunning):
    def prepare(self):
        Case.prepare(self)
        self.mark = f"86400.{uuid.uuid4().int % 10**15:015d}"
        self.id = self.start(f"cat; sleep {self.mark}", pty={})


class TypeIntoTerminal(OfTerminal):
    request = WriteStdin.request

    def check(self, answer):
        if answer.ok:
            assert answer.body["written"] == 5, answer
            wait_until(lambda: self.server.find(f"sleep {self.mark}"), "cat to end")
        super().check(answer)


class ResizeTerminal(OfTerminal):
    def request(self):
        return self.post("/resize_terminal", id=self.id, cols=100, rows=30)

    def check(self, answer):
        process = self.server.get(f"/get_process?id={self.id}").json()
        assert not answer.ok or process["pty"]["cols"] in (100, 80), process
        super().check(answer)


class SignalTerminal(OfTerminal):
    def request(self):
        return self.post("/kill_process", id=self.id, signal="INT")


class WriteAtOnce(WriteStdin):
    """The order comes when the job's runner has not taken procd's connection yet."""

    def prepare(self):
        Case.prepare(self)

    def request(self):
        OfRunning.prepare(self)
        return super().request()


TERMINALS = (StartTerminal, TerminalLife, TypeIntoTerminal, ResizeTerminal, SignalTerminal)
OF_PROCD = (*TERMINALS, Health, Run, RunArgv, ListRuns, KillRun, RunLarge, RunTimeout, RunStreaming, StartProcess, StartWithInput, Life, ListProcesses, ListMany, GetProcess,
            WaitProcess, ReadOutput, TypeAndRead, TypeInTerminal, ReadScreen, DeleteProcess, Logs, LogsResumed, LogsLive, KillProcess, KillWithGrace, WriteStdin, ListPorts)
OF_RUNNER = (*TERMINALS, Run, RunArgv, KillRun, RunLarge, RunTimeout, RunStreaming, StartProcess, StartWithInput, Life, WaitProcess, LogsLive, KillProcess,
             KillWithGrace, WriteStdin)
OF_FCGI_APP = (*OF_PROCD, WriteFile, WriteLarge, WriteWithList, WriteNew, WriteFiles, EditFile, PutFile, PutInPlace, UploadFile, GetFile, GetLarge, ReadFile, ReadFiles, SearchTree, FindTree, FileChanges, DeleteFile, MakeDir, DeleteDir, ListDir, ListDetails, CopyTree, MoveTree, SetModes, BindPort, UnbindPort, SharePort, UnsharePort, FollowPorts, WaitPort, StartAndWait)
# Where something was wrong once: all calls of this name, also in `make test`.
KNOWN = (
    ("runner", StartProcess, "malloc"), ("runner", StartProcess, "sendmsg"),
    ("runner", Life, "poll"), ("runner", Life, "renameat"), ("runner", LogsLive, "read"), ("runner", WriteStdin, "sendmsg"),
    ("procd", StartProcess, "recvmsg"), ("fcgi-app", RunStreaming, "recvmsg"), ("fcgi-app", ListMany, "sendmsg"), ("fcgi-app", GetProcess, "malloc"),
    ("fcgi-app", WriteLarge, "calloc"), ("fcgi-app", LogsResumed, "pread"), ("fcgi-app", LogsResumed, "readdir"),
    ("fcgi-app", LogsLive, "fstatat"), ("fcgi-app", LogsLive, "read"),
)
# With SANDBOX_USER, for everybody's part in it.
AS_USER = tuple((role, RunAsUser) for role in ("fcgi-app", "procd", "runner"))
# OF_FCGI_APP has all.
CASES = tuple(itertools.chain((("fcgi-app", case) for case in OF_FCGI_APP), (("procd", case) for case in OF_PROCD),
                              (("runner", case) for case in OF_RUNNER)))
