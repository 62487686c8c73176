"""
Every JSON error has an `error_code` of api/errors.h. Each code is shown by a request that gets it, except those of NOT_SHOWN; and each
endpoint is asked wrongly in every way that it can be.
"""

import json
import os
import pathlib
import re
import signal
import threading

import pytest

from sandbox import POST_ENDPOINTS, REPOSITORY, descriptors, in_threads, listed_endpoints, wait_until

CODES = set(re.findall(r"^    ERROR\((\w+), ", (REPOSITORY / "api/errors.h").read_text(), re.M))

# What it takes to get these: memory that is out or a system call that fails (tests/faults), a read-only file system, a
# directory that is filled while it is deleted, a client that is slow for a minute.
NOT_SHOWN = {"internal", "cannot_start", "read_only", "not_empty", "timeout", "not_listening", "bad_answer"}

ENDPOINTS = [endpoint for endpoint in listed_endpoints() if endpoint.trait != "METRICS"]
# A body or query with which the endpoint does something.
RIGHT = {"/run": {"cmd": "true"}, "/run_streaming": {"cmd": "true"}, "/start_process": {"cmd": "true"}, "/bind_port": {"port": "8080"}, "/unbind_port": {}}


def code_of(answer, status):
    """The code of an error, which must be one of the list and stand beside a text."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["error"] and body["error_code"] in CODES, body
    return body["error_code"]


def shows(code, answer, status):
    assert code_of(answer, status) == code, answer.text


def test_the_list():
    assert len(CODES) > 20 and NOT_SHOWN <= CODES


def test_requests(sandbox):
    shows("invalid_json", sandbox.call("POST", "/run", b"{"), 400)
    shows("invalid_request", sandbox.post("/run"), 400)
    shows("invalid_request", sandbox.get("/get_process"), 400)
    shows("unauthorized", sandbox.get("/list_processes", token=False), 401)
    shows("not_found", sandbox.get("/nothing"), 404)
    shows("not_found", sandbox.get("/get_process?id=none"), 404)
    shows("method_not_allowed", sandbox.get("/run"), 405)
    shows("unsupported", sandbox.call("POST", "/run", b"{}", headers={"Content-Encoding": "gzip"}), 415)
    shows("may_have_run", sandbox.call("POST", "/run", b'{"cmd":"true"}', headers={"Last-Event-ID": "1"}), 409)
    preflight = {"Origin": "https://other.example", "Access-Control-Request-Method": "POST"}
    shows("forbidden", sandbox.call("OPTIONS", "/run", token=False, headers=preflight), 403)


def test_files(sandbox, workdir):
    workdir_file = f"{workdir}/file"
    sandbox.post("/write_file", path=workdir_file, content="x")
    sandbox.post("/make_dir", path=f"{workdir}/full/sub")
    for code, path, fields in (
        ("not_found", "/read_file", {"path": f"{workdir}/none"}), ("not_found", "/stat_file", {"path": f"{workdir}/none"}),
        ("not_found", "/list_dir", {"path": f"{workdir}/none"}), ("not_found", "/delete_file", {"path": f"{workdir}/none"}),
        ("exists", "/make_dir", {"path": workdir_file}), ("not_a_directory", "/write_file", {"path": f"{workdir}/file/x", "content": ""}),
        ("not_a_directory", "/list_dir", {"path": workdir_file}), ("is_a_directory", "/read_file", {"path": str(workdir)}),
        ("is_a_directory", "/delete_file", {"path": f"{workdir}/full"}), ("invalid_path", "/stat_file", {"path": f"{workdir}/{'n' * 256}"}),
        ("permission_denied", "/delete_file", {"path": "/proc/version"}), ("no_space", "/write_file", {"path": "/dev/full", "content": "x"}),
        ("io_error", "/read_file", {"path": "/proc/self/mem"}), ("unsupported", "/read_file", {"path": "/dev/null"}),
    ):
        shows(code, sandbox.post(path, **fields), 200)
    shows("invalid_request", sandbox.post("/write_file", path=workdir_file, content="!", encoding="base64"), 400)
    shows("invalid_request", sandbox.post("/read_file", path=workdir_file, encoding="latin-1"), 400)


def test_files_as_they_are(sandbox, workdir):
    sandbox.post("/write_file", path=f"{workdir}/file", content="x")
    link = sandbox.post("/share_file", path=f"{workdir}/file", expires_in_ms=1).json()["path"]
    wait_until(lambda: sandbox.get(link, token=False).status_code == 401, "its end")
    shows("expired", sandbox.get(link, token=False), 401)
    shows("precondition_failed", sandbox.get(f"/files{workdir}/file", headers={"If-Match": '"other"'}), 412)
    shows("edit_mismatch", sandbox.post("/edit_file", path=f"{workdir}/file", edits=[{"old_str": "y"}]), 409)


def test_processes(sandbox, proxy):
    running = sandbox.start("sleep 1000")["id"]
    shows("running", sandbox.post("/delete_process", id=running), 400)
    shows("no_stdin", sandbox.post("/write_stdin", id=running, data="x"), 400)
    sandbox.kill(running)
    shows("not_running", sandbox.kill(running), 400)
    shows("not_found", sandbox.kill("none"), 400)
    shows("not_found", sandbox.post("/delete_process", id="none"), 404)
    shows("not_found", sandbox.post("/wait_process", id="none"), 404)
    shows("not_found", sandbox.post("/read_output", id="none"), 404)
    event, = sandbox.logs("none")
    assert (event.name, event.data["error_code"]) == ("error", "not_found")
    event, = sandbox.stream("true", cwd="/none").events()
    assert event == ("error", {"error": "Invalid working directory: /none", "error_code": "invalid_request"})
    assert sandbox.post("/bind_port", port=9).status_code == 200
    shows("in_use", sandbox.post("/bind_port", port=10), 409)


def test_limits(make_server):
    server = make_server({"SANDBOX_MAX_BODY": "1k", "SANDBOX_MAX_RUNS": "1", "SANDBOX_MAX_JOBS": "1", "SANDBOX_MAX_STREAMS": "1"})
    for endpoint in ENDPOINTS:
        if endpoint.path in POST_ENDPOINTS:
            shows("too_large", server.call("POST", endpoint.path, b" " * 2000), 413)
    job = server.start("sleep 1000")["id"]
    with server.stream("echo begun; sleep 1000") as running, server.logs(job):
        running.next()
        shows("too_many", server.post("/run", cmd="true"), 429)
        shows("too_many", server.post("/run_streaming", cmd="true"), 429)
        shows("too_many", server.post("/start_process", cmd="true"), 429)
        wait_until(lambda: server.get("/health?full=1").json()["queue"]["streams"] == 1, "the stream")
        shows("too_many", server.get(f"/process_logs_streaming?id={job}"), 429)
        shows("too_many", server.post("/read_output", id=job), 429)
    server.kill(job)


@pytest.mark.host
def test_while_a_daemon_is_away_and_at_the_stop(server):
    server.supervise("procd", "d")
    wait_until(lambda: server.get("/health").status_code == 503, "the health without procd")
    shows("unavailable", server.get("/health"), 503)
    requests = [("POST", path, {"cmd": "true"}) for path in ("/run", "/run_streaming", "/start_process")]
    requests += [("POST", path, {"id": "x", "eof": True}) for path in ("/kill_process", "/delete_process", "/wait_process", "/write_stdin", "/read_output")]
    requests += [("GET", path, None) for path in ("/list_processes", "/get_process?id=x", "/process_logs_streaming?id=x")]

    def ask(number):
        method, path, fields = requests[number]
        shows("unavailable", server.call(method, path, fields and json.dumps(fields).encode()), 503)

    in_threads(len(requests), ask)  # each waits for a while for procd
    server.supervise("procd", "u")
    server.healthy()

    endless = pathlib.Path(server.home) / "endless"
    with open(endless, "w", encoding="utf-8") as file:
        file.truncate(1 << 42)
    os.chmod(server.home, 0o755)
    answers = []
    reader = threading.Thread(target=lambda: answers.append(server.post("/read_file", path=str(endless), line=2)))
    reader.start()
    wait_until(lambda: str(endless) in descriptors(server.daemon("fcgi-app")), "the file to be read")
    os.kill(server.launch.pid, signal.SIGTERM)
    reader.join()
    shows("stopping", answers[0], 503)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
def test_an_endpoint_that_is_asked_wrongly(sandbox, endpoint):
    other = "GET" if endpoint.method == "POST" else "POST"
    assert code_of(sandbox.call(other, endpoint.path, b"{}" if other == "POST" else None), 405) == "method_not_allowed"
    assert code_of(sandbox.call(endpoint.method, endpoint.path + "x"), 404) == "not_found"
    if endpoint.path != "/health":
        assert code_of(sandbox.call(endpoint.method, endpoint.path, token=False), 401) == "unauthorized"
    if endpoint.path in POST_ENDPOINTS:
        for body in (b"{", b"[]", b'{"x":1}y', b"\xff"):
            assert code_of(sandbox.call("POST", endpoint.path, body), 400) == "invalid_json"
        answer = sandbox.call("POST", endpoint.path, json.dumps(RIGHT.get(endpoint.path, {})).encode(), headers={"Content-Encoding": "gzip"})
        assert code_of(answer, 415) == "unsupported"
        if endpoint.path != "/unbind_port":
            assert code_of(sandbox.post(endpoint.path), 400) == "invalid_request"
    elif endpoint.path in ("/get_process", "/process_logs_streaming", "/file_changes_streaming"):
        assert code_of(sandbox.get(endpoint.path), 400) == "invalid_request"
    elif endpoint.path == "/list_processes":
        assert code_of(sandbox.get(endpoint.path + "?full=2"), 400) == "invalid_request"


def test_every_code_is_shown_or_named():
    """By the sources of this file, for tests may run in several processes."""
    named = set(re.findall(r'"(\w+)"', open(__file__, encoding="utf-8").read()))
    assert CODES - NOT_SHOWN <= named
