"""
The life of the package on a machine with systemd and an nginx that is there already (tests/deb/run makes it). The tests
build on each other, in their order: the first that fails ends the run.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys

import pytest
import requests

from sandbox import DEADLINE, EventStream, Sandbox, alive, proc_file, proc_stat, wait_until

pytestmark = pytest.mark.skipif("IN_MACHINE" not in os.environ, reason="only in a machine that it may change: make test-deb")

MACHINE = pathlib.Path("/machine")
ETC = pathlib.Path("/etc/nginx-sandbox")
STATE = pathlib.Path("/var/lib/nginx-sandbox")
SECRET = ETC / "default.secret"
SITE = pathlib.Path("/etc/nginx/sites-enabled/site")
STREAM = pathlib.Path("/etc/nginx/modules-enabled/99-stream.conf")  # Debian includes that directory at main level
PLAIN_SITE = 'server {{ listen 8080 default_server; location / {{ return 200 "site"; }} {} }}\n'
WHOLE = "nginx-sandbox@default.service"


def run(*command, check=True, **options):
    """What a program prints; it must succeed, unless not `check`: then (exit status, output)."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False, **options)
    if not check:
        return done.returncode, done.stdout
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def unit(daemon, name="default"):
    return f"nginx-sandbox-{daemon}@{name}.service"


def main_pid(name):
    return int(run("systemctl", "show", "--value", "-p", "MainPID", name))


def is_active(name):
    return run("systemctl", "is-active", name, check=False)[1].strip()


def secret(path=SECRET):
    return path.read_text().splitlines()[0]


def sandbox(token=None):
    return Sandbox("http://127.0.0.1:8080", ("127.0.0.1", 3031), token or secret())


def site():
    return requests.get("http://127.0.0.1:8080/", timeout=DEADLINE).text


def nginx():
    return main_pid("nginx.service")


def await_health(host="127.0.0.1"):
    wait_until(lambda: requests.get("http://127.0.0.1:8080/health", headers={"Host": host}, timeout=DEADLINE).status_code == 200, "health")


def files():
    """What a package may leave: {path: None} of what is configured, kept or installed."""
    found = set()
    for place in ("/etc", "/var", "/usr", "/lib", "/run/systemd/transient", "/root", "/home", "/opt", "/srv"):
        for directory, names, others in os.walk(place):
            found.update(os.path.join(directory, name) for name in names + others)
    return found


@pytest.fixture(scope="module")
def life():
    """What later tests compare with."""
    return {}


class Job:
    """A background process that counts, and whoever follows its log."""

    def __init__(self, server):
        self.server = server
        answer = server.start("i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done")
        self.id, self.pid = answer["id"], answer["pid"]

    def follow(self, **options):
        return self.server.logs(self.id, **options)

    def check(self):
        """It runs still, as the process that it was, and has lost no line."""
        assert alive(self.pid)
        (job,) = [job for job in self.server.list() if job["id"] == self.id]
        assert job["status"] == "running" and job["pid"] == self.pid
        with self.server.logs(self.id, query="&follow=0") as stream:
            lines = [event.data["data"] for event in stream.events() if event.name == "log"]
        assert lines == [str(number) for number in range(len(lines))] and lines


# ---- install ----


def test_a_machine_with_an_nginx_of_its_own(life):
    assert run("systemctl", "is-system-running", check=False)[1].strip() in ("running", "degraded", "starting")
    for default in pathlib.Path("/etc/nginx/sites-enabled").iterdir():
        default.unlink()
    SITE.write_text(PLAIN_SITE.format(""))
    run("systemctl", "restart", "nginx")
    assert site() == "site"
    life["nginx"] = nginx()
    life["files"] = files()


def test_install():
    run("dpkg", "-i", str(MACHINE / "old.deb"))
    assert run("dpkg-query", "-W", "-f", "${db:Status-Status}", "nginx-sandbox") == "installed"


def test_the_nginx_of_the_machine_goes_on(life):
    assert nginx() == life["nginx"] and site() == "site"
    run("nginx", "-t")


def test_the_secret_is_roots():
    status = SECRET.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_uid == 0
    assert len(secret()) >= 43


def test_the_units_run():
    for name in (WHOLE, unit("procd"), unit("fcgi-app"), unit("guard"), "nginx-sandbox-procd@default.socket", "nginx-sandbox-fcgi-app@default.socket"):
        assert is_active(name) == "active", run("systemctl", "status", name, check=False)[1]
    assert run("systemctl", "is-enabled", "nginx-sandbox.target").strip() == "enabled"
    assert "nginx-sandbox@default.service" in os.listdir("/etc/systemd/system/nginx-sandbox.target.wants")


def test_two_include_lines(life):
    SITE.write_text(PLAIN_SITE.format("include snippets/nginx-sandbox.conf;"))
    STREAM.write_text("stream { include snippets/nginx-sandbox-stream.conf; }\n")
    run("nginx", "-t")
    run("systemctl", "reload", "nginx")
    await_health()
    assert nginx() == life["nginx"] and site() == "site"
