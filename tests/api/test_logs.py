"""What the daemons say on standard error: levels, the request that a line is about, and how commands end."""

import os
import re
import signal

import pytest

from sandbox import Launch, Port, proc_stat, wait_until

pytestmark = pytest.mark.host

SECRETS = ("word-of-a-command", "word-of-a-variable", "word-of-the-output")
COMMAND = f"echo {SECRETS[2][:-2]}''{SECRETS[2][-2:]}; : {SECRETS[0]}; "


def request(server, path, identifier, cmd, **fields):
    """The answer to a command that must not be in any log."""
    return server.call("POST", path, {"cmd": COMMAND + cmd, "env": {"V": SECRETS[1]}, **fields}, headers={"X-Request-ID": identifier})


def about(server, identifier):
    """The lines that are about a request."""
    return [line.rstrip("\n") for line in list(server.launch.stderr.lines) if f"[{identifier}]" in line]


def said(server, identifier, pattern):
    """The line about a request that matches, as soon as it is there: a match."""
    def look():
        return next(filter(None, (re.fullmatch(pattern, line) for line in about(server, identifier))), None)

    try:
        return wait_until(look, "the line")
    except AssertionError:
        raise AssertionError(f"no line {pattern}\n{server.launch.output()}") from None


def says_no_secret(server):
    text = server.launch.stdout.text + server.launch.stderr.text
    assert not [word for word in SECRETS if word in text], text


ENDED = r"ended: reason={} code={} signal={} duration_ms=[0-9]+ max_rss_kb=[1-9][0-9]*"


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_a_line_for_each_command_that_ended(make_server, path):
    server = make_server({"LOG_LEVEL": "info"})
    for identifier, cmd, fields, end in (
        ("good", "true", {}, ("exit", 0, "-")),
        ("bad", "exit 3", {}, ("exit", 3, "-")),
        ("killed", "kill -KILL $$", {}, ("signal", -1, "SIGKILL")),
        ("late", "sleep 1000", {"timeout_ms": 100}, ("timeout", -1, "SIGTERM")),
        ("large", "head -c 1000000 /dev/zero", {}, ("exit", 0, "-")),  # the header of its answer is out before its end
    ):
        assert request(server, path, identifier, cmd, **fields).status_code == 200
        said(server, identifier, f"fcgi-app: info: \\[{identifier}\\] {path} " + ENDED.format(*end))
        assert len(about(server, identifier)) == 1
    says_no_secret(server)


@pytest.mark.parametrize("path", ["/run", "/run_streaming"])
def test_a_command_whose_client_left(make_server, marker, path):
    server = make_server({"LOG_LEVEL": "info"})
    with server.raw() as raw:
        body = f'{{"cmd": "{marker.sleep}"}}'
        raw.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.secret}\r\nX-Request-ID: gone\r\n"
                 f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
        marker.sleeping(server)
    said(server, "gone", f"fcgi-app: info: \\[gone\\] {path} ended: reason=cancelled")


def test_by_default_no_line_for_a_command(make_server):
    server = make_server()
    begin = server.launch.stderr.text
    for path in ("/run", "/run_streaming"):
        assert request(server, path, "quiet", "exit 3").status_code == 200
    job = request(server, "/start_process", "quiet", "exit 3").json()
    assert server.ended(job["id"]) == "failed"
    server.stop()
    assert server.launch.stderr.text == begin


def test_a_background_process(make_server):
    server = make_server({"LOG_LEVEL": "info"})
    job = request(server, "/start_process", "job", "kill -HUP $$").json()
    said(server, "job", f"procd: info: \\[job\\] job {job['id']} started: pid={job['pid']}")
    said(server, "job", f"procd: info: \\[job\\] job {job['id']} " + ENDED.format("signal", -1, "SIGHUP"))
    says_no_secret(server)


def test_a_later_line_knows_who_started_the_process(make_server):
    """Which procd has from the job's record: here it is another procd than the one that was asked."""
    server = make_server()
    job = request(server, "/start_process", "starter", "sleep 86400").json()
    procd = server.kill_daemon("procd")
    server.back("procd", procd)
    os.kill(proc_stat(job["pid"])[1], signal.SIGKILL)
    said(server, "starter", f"procd: warning: \\[starter\\] job {job['id']}: its runner died")


def test_what_a_request_fails_for(make_server):
    server = make_server({"LOG_LEVEL": "error"})
    server.supervise("procd", "d")
    assert request(server, "/run", "away", "true").status_code == 503
    said(server, "away", r"fcgi-app: \[away\] /run: procd is not reachable")
    says_no_secret(server)


def test_errors_alone(make_server):
    server = make_server({"LOG_LEVEL": "ERROR"})
    job = request(server, "/start_process", "starter", "sleep 86400").json()
    os.kill(proc_stat(job["pid"])[1], signal.SIGKILL)
    assert server.ended(job["id"]) == "failed"
    server.stop()
    assert not about(server, "starter")  # a warning


@pytest.mark.parametrize("level", ["debug", "DEBUG", "TRACE", "trace", "Trace"])
def test_debugging(make_server, level):
    server = make_server({"LOG_LEVEL": level})
    answer = server.get("/get_process?id=in-the-query", headers={"X-Request-ID": "look"})
    assert answer.status_code == 404
    assert "error_log stderr warn;" in (server.run_dir / "nginx/nginx.conf").read_text()  # at info nginx prints tokens
    said(server, "look", r"fcgi-app: debug: \[look\] GET /get_process")
    assert "in-the-query" not in server.launch.stderr.text and server.secret not in server.launch.stderr.text


def test_the_journal_is_given_priorities(make_server):
    """systemd makes standard error the journal and says so in JOURNAL_STREAM; here it is a pipe of ours."""
    server = make_server({"LOG_LEVEL": "info"}, prefix=["sh", "-c", 'export JOURNAL_STREAM=$(stat -Lc %d:%i /dev/fd/2); exec "$@"', "sh"])
    job = request(server, "/start_process", "job", "sleep 86400").json()
    assert request(server, "/run", "run", "exit 3").status_code == 200
    said(server, "job", f"<6>procd: \\[job\\] job {job['id']} started: pid={job['pid']}")
    said(server, "run", r"<6>fcgi-app: \[run\] /run " + ENDED.format("exit", 3, "-"))
    os.kill(proc_stat(job["pid"])[1], signal.SIGKILL)
    said(server, "job", f"<4>procd: \\[job\\] job {job['id']}: its runner died")


def test_a_level_that_is_none():
    ports = Port(), Port()
    launch = Launch({"SANDBOX_SECRET": "secret", "PORT": str(ports[0].number), "PROXY_PORT": str(ports[1].number), "LOG_LEVEL": "loud"})
    try:
        code, out, err = launch.wait()
    finally:
        launch.destroy()
        for port in ports:
            port.free()
    assert code > 0 and not out
    assert err == "nginx-sandbox: LOG_LEVEL must be error, warn, notice, info, debug or trace\n"
