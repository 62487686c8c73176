"""The access log is renamed while requests come, and nginx opens it again: no line is lost, and none is torn."""

import contextlib
import gzip
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading

import pytest

from sandbox import BIG_TIMEOUT, REPOSITORY, descriptors, http_request, wait_until

pytestmark = pytest.mark.host

CLIENTS = 4


@contextlib.contextmanager
def requests_come(server):
    """Clients with one request after the other; yields the ids of those that were answered, which become more."""
    answered, stop = [], threading.Event()

    def ask(client):
        with server.raw(timeout=BIG_TIMEOUT) as raw:
            for number in itertools.count():
                if stop.is_set():
                    return
                identifier = f"{client}-{number}"
                request = http_request("GET", "/list_processes", [("Host", "x"), server.bearer(), ("X-Request-ID", identifier)])
                assert raw.exchange(request)[0] == 200
                answered.append(identifier)

    threads = [threading.Thread(target=ask, args=(client,), daemon=True) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stop.set()
        for thread in threads:
            thread.join(BIG_TIMEOUT)


def more(answered, count=20):
    """Waits for so many more requests."""
    wanted = len(answered) + count
    wait_until(lambda: len(answered) >= wanted, f"{count} more requests")


def reopened(server, log, old):
    """Waits until every process of nginx has the new file and none the old one."""
    def look():
        links = [descriptors(pid) for pid in server.nginx_pids()]
        return links and all(str(log) in own and str(old) not in own for own in links)

    wait_until(look, "nginx to open the log again")


def check_all(answered, files):
    """Each request that was answered has one line, and each line is whole. (It is written after the answer.)"""
    def read():
        """The text of all files, once the last line is there as a whole."""
        texts = [(gzip.open if path.suffix == ".gz" else open)(path, "rt").read() for path in files()]
        whole = all(text.endswith("\n") or not text for text in texts)
        text = "".join(texts)
        return text if whole and set(answered) <= set(re.findall('"request_id":"(.*?)"', text)) else None

    ids = [json.loads(line)["request_id"] for line in wait_until(read, "the last lines").splitlines()]
    assert sorted(identifier for identifier in ids if "-" in identifier) == sorted(answered)


def s6_svc(server):
    return ["s6-svc", "-1", server.run_dir / "service/nginx"]


def nginx_reopen(server):
    home = server.run_dir / "nginx"
    return [server.run_dir / "bin/nginx", "-e", "stderr", "-p", home, "-c", home / "nginx.conf", "-s", "reopen"]


@pytest.mark.parametrize("order", [s6_svc, nginx_reopen])
@pytest.mark.parametrize("place", ["in the run directory", "elsewhere"])
def test_a_rename_under_load(make_server, open_directory, place, order):
    server = make_server({} if place == "in the run directory" else {"SANDBOX_ACCESS_LOG": str(open_directory / "access.log")})
    log = (open_directory if place == "elsewhere" else server.run_dir / "nginx") / "access.log"
    with requests_come(server) as answered:
        for number in range(5):
            more(answered)
            old = log.rename(f"{log}.{number}")
            more(answered)  # into the renamed file
            subprocess.run(order(server), check=True)
            reopened(server, log, old)
        more(answered)
    check_all(answered, lambda: list(log.parent.glob("access.log*")))
    assert len(list(log.parent.glob("access.log.*"))) == 5 and all(map(os.path.getsize, log.parent.glob("access.log*")))


@pytest.mark.skipif(os.geteuid() != 0, reason="the example gives the new file to www-data")
@pytest.mark.skipif(shutil.which("logrotate", path="/usr/sbin:/usr/bin") is None, reason="needs logrotate")
def test_the_example_for_logrotate(make_server, open_directory):
    log = open_directory / "access.log"
    server = make_server({"SANDBOX_ACCESS_LOG": str(log)})
    text = (REPOSITORY / "nginx/logrotate").read_text()
    assert "/var/log/nginx-sandbox/" in text and "/run/nginx-sandbox/service/nginx" in text
    conf = pathlib.Path(server.home, "logrotate")
    conf.write_text(text.replace("/var/log/nginx-sandbox", str(open_directory)).replace("/run/nginx-sandbox", str(server.run_dir)))
    conf.chmod(0o644)

    def rotate():
        done = subprocess.run(["/usr/sbin/logrotate", "--force", "--state", f"{server.home}/state", conf], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
        reopened(server, log, open_directory / "access.log.1")

    with requests_come(server) as answered:
        for _ in range(3):
            more(answered)
            rotate()
        more(answered)
    files = sorted(path.name for path in open_directory.iterdir())
    assert files == ["access.log", "access.log.1", "access.log.2.gz", "access.log.3.gz"]
    check_all(answered, lambda: list(open_directory.iterdir()))
    assert log.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() != 0, reason="nginx's workers are who started the server")
def test_a_directory_that_the_workers_may_not_enter(make_server, open_directory):
    """There they would go on with the renamed file, so the server says so when it starts."""
    open_directory.chmod(0o700)
    server = make_server({"SANDBOX_ACCESS_LOG": str(open_directory / "access.log")})
    assert server.launch.stderr.text == (f"nginx-sandbox: warning: SANDBOX_ACCESS_LOG: nginx's workers may not enter {open_directory}: "
                                         "after a rotation they could not open the log again\n")
