"""/write_file writes large content once if `path` comes before it; until all of the body is there, nothing has changed."""

import base64
import json
import os
import re
import shutil

import pytest

from sandbox import BIG_TIMEOUT, descriptors, http_request, make_directory, mounting_is_allowed, proc_file, Server, wait_until, with_a_small_disk

OK = {"success": True}
LARGE = 400_000  # more than is kept in memory


@pytest.fixture
def directory():
    """A directory for the commands of a server of our own, with a file in it."""
    path = make_directory()
    with open(f"{path}/file", "w", encoding="ascii") as file:
        file.write("old")
    os.chmod(f"{path}/file", 0o666)
    yield path
    shutil.rmtree(path)


def is_untouched(directory):
    with open(f"{directory}/file", encoding="ascii") as file:
        return os.listdir(directory) == ["file"] and file.read() == "old"


# ---- written once ----


def written_by(pid):
    """The bytes that a process has written, to files and sockets (proc_pid_io(5))."""
    return int(re.search(rb"wchar: (\d+)", proc_file(pid, "io"))[1])


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what another process has written")
@pytest.mark.parametrize("first, times", [("path", 1), ("content", 2)])
def test_content_is_written_once(server, directory, first, times):
    content, path, pid = "x" * 4_000_000, f"{directory}/new", server.daemon("fcgi-app")
    fields = {"content": content, "path": path} if first == "content" else {"path": path, "content": content}
    before = written_by(pid)
    assert server.call("POST", "/write_file", fields).json() == OK
    assert times * len(content) <= written_by(pid) - before < times * len(content) + 500_000
    with open(path, encoding="ascii") as file:
        assert sorted(os.listdir(directory)) == ["file", "new"] and file.read() == content


# ---- whole or not at all ----


class Upload:
    """A request whose content is half there: fcgi-app has one file without a name for it, beside the target, and no other."""

    def __init__(self, server, directory):
        self.body = json.dumps({"path": f"{directory}/file", "content": "x" * 3_000_000}).encode()
        self.raw = server.raw()
        self.raw.send(http_request("POST", "/write_file", [("Host", "x"), server.bearer(), ("Content-Length", str(len(self.body)))], self.body[:1_500_000]))
        pid = server.daemon("fcgi-app")
        self.files = lambda: [name for name in descriptors(pid) if name.endswith(" (deleted)")]
        wait_until(self.files, "the content to have a file")
        assert [os.path.dirname(name) for name in self.files()] == [directory] and is_untouched(directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.__exit__()


@pytest.mark.host
def test_an_upload_that_goes_on(server, directory):
    with Upload(server, directory) as upload:
        assert json.loads(upload.raw.exchange(upload.body[1_500_000:], "POST")[2]) == OK
    assert os.listdir(directory) == ["file"] and os.path.getsize(f"{directory}/file") == 3_000_000


@pytest.mark.host
def test_a_client_that_leaves(server, directory):
    with Upload(server, directory) as upload:
        pass
    wait_until(lambda: not upload.files(), "the file of the content to be closed")
    assert is_untouched(directory)


@pytest.mark.host
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_server_that_ends(server, directory, end):
    with Upload(server, directory):
        if end == "kill":
            server.back("fcgi-app", server.kill_daemon("fcgi-app"))
        else:
            server.stop()
    assert is_untouched(directory)


@pytest.mark.host
def test_a_body_beyond_the_limit(make_server, directory):
    """It comes in chunks, so that its length is not known before."""
    with_limit = make_server({"SANDBOX_MAX_BODY": "500000"})
    head, pieces = json.dumps({"path": f"{directory}/file", "content": ""})[:-2].encode(), [b"x" * 50_000] * 10
    answer = with_limit.call("POST", "/write_file", iter([head, *pieces, b'"}']))
    assert answer.status_code == 413 and is_untouched(directory)
    assert with_limit.call("POST", "/write_file", iter([head, *pieces[:-1], b'"}'])).json() == OK


@pytest.mark.host
@pytest.mark.skipif(not mounting_is_allowed(), reason="no mount is allowed here")
@pytest.mark.parametrize("end, status", [('"}', 200), ('"', 400), ('","encoding":"base64"}', 200)])
def test_a_full_disk(tmp_path, end, status):
    """The rest of the body is read, and what is wrong with it is reported first."""
    with Server(prefix=with_a_small_disk(str(tmp_path))) as server:
        assert server.post("/write_file", path=f"{tmp_path}/file", content="old").json() == OK
        body = json.dumps({"path": f"{tmp_path}/file", "content": "x" * 3_000_000})[:-2] + end
        answer = server.call("POST", "/write_file", body.encode())
        assert answer.status_code == status
        assert ("invalid json" if status == 400 else "no space left") in answer.json()["error"].lower()
        assert server.post("/read_file", path=f"{tmp_path}/file").json() == {"content": "old"}
        assert server.post("/list_dir", path=str(tmp_path)).json() == {"entries": ["file"]}


# ---- what follows the content ----


ENDS = [b'', b'"', b'"}x', b'"}}', b'",}', b'","path":"/x"}', b'","content":"x"}', b'","content":null}', b'","encoding":1}', b'","encoding":"latin-1"}',
        b'","is_base64":"x"}', b'","is_base64":true}', b'","x":"\xff"}', b'","x":"\\ud8"}', b'","x":[01]}', b'\\q"}', b'\xc3"}', b'\x01"}', b'\\ud83d\\u"}']


@pytest.mark.parametrize("end", ENDS)
def test_a_fault_after_the_content(sandbox, workdir, end):
    """The answer is that to a body that is small enough to be kept."""
    sandbox.post("/write_file", path=f"{workdir}/file", content="old")
    head = json.dumps({"path": f"{workdir}/file", "content": ""})[:-2].encode()
    answers = [sandbox.call("POST", "/write_file", head + b"x" * length + end) for length in (9, LARGE + 9)]
    small, large = (answer.json() for answer in answers)
    large["error"] = re.sub(r"(?<=at byte )\d+", lambda number: str(int(number[0]) - LARGE), large["error"])
    assert [answer.status_code for answer in answers] == [400, 400] and large == small
    assert sandbox.post("/read_file", path=f"{workdir}/file").json() == {"content": "old"}
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": ["file"]}


# ---- where it goes ----


TARGETS = {
    "a new file": "true",
    "a file": "echo old >target; chmod 640 target",
    "a file of two names": "echo old >other; ln other target",
    "a link to a file elsewhere": "mkdir d; echo old >d/file; ln -s d/file target",
    "a link to a new file": "mkdir d; ln -s d/file target",
    "a file on another disk": "ln -s \"$(mktemp -p /dev/shm)\" target",
}


@pytest.mark.parametrize("prepare", TARGETS.values(), ids=TARGETS.keys())
def test_targets(sandbox, workdir, prepare):
    """Each is written as by a shell's redirection; a fault at the end changes nothing."""
    sandbox.shell(f"cd {workdir}; {prepare}")
    state = f"cd {workdir} && find . -printf '%p %m %n %l\\n' | sort; cat target 2>&1"
    before = sandbox.shell(f"{state}; true")
    content = "ü\n" * LARGE
    body = json.dumps({"path": f"{workdir}/target", "content": content}, ensure_ascii=False).encode()
    assert sandbox.call("POST", "/write_file", body + b"x").status_code == 400
    assert sandbox.shell(f"{state}; true") == before
    expected = sandbox.shell(f"cd {workdir} && echo written >target && {state}")
    sandbox.shell(f"cd {workdir} && rm -rf -- * && {prepare}")
    assert sandbox.call("POST", "/write_file", body).json() == OK
    assert sandbox.post("/read_file", path=f"{workdir}/target").json() == {"content": content}
    after = sandbox.shell(f"cd {workdir} && echo written >target && {state}")
    assert re.sub("/dev/shm/.*", "", after) == re.sub("/dev/shm/.*", "", expected)
    sandbox.shell(f"cd {workdir} && rm -f \"$(readlink -f target)\"")


def test_a_fifo(sandbox, workdir):
    """Its reader gets the content when all of the body is there, and no sign of a body that is refused."""
    sandbox.shell(f"mkfifo {workdir}/fifo")
    reader = sandbox.start(f"wc -c <{workdir}/fifo")
    body = json.dumps({"path": f"{workdir}/fifo", "content": "x" * LARGE}).encode()
    for _ in range(5):
        assert sandbox.call("POST", "/write_file", body + b"x").status_code == 400
    wait_until(lambda: sandbox.call("POST", "/write_file", body).json() == OK, "a reader")
    assert sandbox.lines(reader["id"]) == [str(LARGE)]


@pytest.mark.parametrize("fields", [{"encoding": "base64"}, {"is_base64": True}, {"x": "y"}])
def test_base64_on_either_side(sandbox, workdir, fields):
    data = os.urandom(LARGE)
    text = base64.b64encode(data).decode()
    for body in ({"path": f"{workdir}/file", **fields, "content": text}, {"path": f"{workdir}/file", "content": text, **fields},
                 {"content": text, "path": f"{workdir}/file", **fields}):
        assert sandbox.call("POST", "/write_file", body, timeout=BIG_TIMEOUT).json() == OK
        answer = sandbox.post("/read_file", path=f"{workdir}/file").json()
        assert answer == ({"content": text} if "x" in fields else {"content": text, "is_base64": True})
