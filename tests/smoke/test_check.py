"""`nginx-sandbox check` on a machine without systemd, where somebody else runs the daemons and nginx."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from foreground import LAUNCHER, Foreground
from platform_nginx import NGINX
from sandbox import BIN, DEADLINE, REPOSITORY, wait_until

CONF = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
load_module /usr/lib/nginx/modules/ngx_stream_js_module.so;
load_module /usr/lib/nginx/modules/ngx_http_js_module.so;
pid {home}/nginx.pid;
error_log {home}/error.log;
user www-data;
events {{}}
http {{
    access_log off;
    client_body_temp_path {home}/body; fastcgi_temp_path {home}/fastcgi; proxy_temp_path {home}/proxy;
    scgi_temp_path {home}/scgi; uwsgi_temp_path {home}/uwsgi;
    {http}
    server {{ listen unix:{home}/nginx.sock; {server} }}
}}
"""

# The machine as `check` sees it: with this nginx.conf, and without systemd.
VIEW = 'mount --bind "$1" /etc/nginx/nginx.conf && if [ -d /run/systemd ]; then mount -t tmpfs none /run/systemd; fi && shift && exec "$@"'
NAMESPACE = ["unshare", "-m", "sh", "-c", VIEW, "sh"]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.path.exists("/etc/nginx/nginx.conf")
    or subprocess.run([*NAMESPACE, "/dev/null", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0,
    reason="needs root, mount namespaces, and Debian's nginx")


class Machine:
    def __init__(self, home):
        self.home, self.nginx = pathlib.Path(home), None
        self.etc, self.state, self.conf = self.home / "etc", self.home / "state", self.home / "nginx.conf"
        self.etc.mkdir()
        self.state.mkdir()
        self.state.chmod(0o755)

    def include(self, http="", server=""):
        self.conf.write_text(CONF.format(home=self.home, http=f"include {http};" if http else "", server=f"include {server};" if server else ""))

    def start_nginx(self):
        self.nginx = subprocess.Popen([NGINX, "-c", self.conf, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
        wait_until(lambda: (self.home / "nginx.pid").exists() and (self.home / "nginx.sock").exists(), "nginx")

    def run(self, *arguments):
        return subprocess.run([*NAMESPACE, self.conf, BIN / "nginx-sandbox", *arguments], capture_output=True, text=True, timeout=60, check=False)

    def check(self):
        """(the lines of problems and what to do, standard error)"""
        done = self.run("check", "--etc", self.etc, "--state", self.state)
        assert (done.returncode == 0) == (done.stdout == "Nothing is wrong.\n"), done
        return done.stdout, done.stderr

    def end(self):
        if self.nginx:
            self.nginx.send_signal(signal.SIGTERM)
            self.nginx.wait(DEADLINE)


@pytest.fixture
def machine(home):
    one = Machine(home)
    yield one
    one.end()


def daemons(run):
    """A server of `--without-nginx` with this run directory."""
    server = Foreground([*LAUNCHER, "--without-nginx"], {"SANDBOX_SECRET": "checked", "SANDBOX_RUN_DIR": str(run)})
    wait_until(lambda: "ready for nginx" in server.stdout.text, "the snippets")
    return server


def end(server):
    """Its run directory stays, as what nginx includes."""
    server.process.send_signal(signal.SIGTERM)
    assert server.wait(10)[0] == 0


def test_the_includes_of_a_server(machine):
    """As in docs/nginx.md, behind an nginx of one's own: there is no file of settings, and none is missed."""
    run = machine.home / "run"
    snippets = f"{run}/nginx/snippets"
    with daemons(run) as server:
        machine.include(f"{snippets}/http.conf")
        output, _ = machine.check()
        assert f"- No server block of nginx includes the API of the server in {run}.\n" in output and "- nginx does not run.\n" in output
        machine.include(f"{snippets}/http.conf", f"{snippets}/server.conf")
        machine.start_nginx()
        wait_until(lambda: machine.check() == ("Nothing is wrong.\n", ""), "both daemons")
        subprocess.run(["s6-svc", "-wD", "-T", "10000", "-d", f"{run}/service/fcgi-app"], check=True)
        assert machine.check()[0] == f"- {run}: fcgi-app does not run.\n    s6-svc -u {run}/service/fcgi-app\n"
        end(server)
    assert machine.check()[0].startswith(f"- {run}: does not run")


def test_daemons_that_no_unit_runs(machine):
    """Of sandboxes whose settings are in files: they answer, so they run."""
    subprocess.run([BIN / "nginx-sandbox", "secret", "--etc", machine.etc, "init"], check=True)
    subprocess.run([BIN / "nginx-sandbox", "render", "--etc", machine.etc, "--state", machine.state], check=True)
    machine.include(f"{machine.etc}/nginx/http.conf", f"{machine.etc}/nginx/server.conf")
    machine.start_nginx()
    run = machine.state / "default"
    output, _ = machine.check()
    assert output == f"- default: does not run, or procd does not answer.\n    SANDBOX_RUN_DIR={run} nginx-sandbox --without-nginx, with its other settings\n"
    with daemons(run) as server:
        wait_until(lambda: machine.check() == ("Nothing is wrong.\n", ""), "both daemons")
        machine.include(f"{machine.etc}/nginx/http.conf")
        output, _ = machine.check()
        assert output.startswith("- No server block of nginx includes the API.\n") and f"{machine.etc}/nginx/server.conf" in output
        assert "systemctl" not in output
        assert machine.run("status", "--state", machine.state).stdout.startswith("default: running\n")
        end(server)
    assert machine.run("status", "--state", machine.state).stdout == "default: procd does not answer\n"
    (machine.state / "never").mkdir()
    assert machine.run("status", "--state", machine.state, "never").stdout == "never: does not run\n"


def test_packages_that_are_named_are_those_that_are_installed():
    """What the programs ask for by name comes with `make deps`."""
    packages = re.search(r"^RUN_PACKAGES +:= (.*)$", (REPOSITORY / "packages.mk").read_text(), re.M)[1].split()
    source = (REPOSITORY / "launcher/start/layout.c").read_text()
    named = set(re.findall(r'find_module\("[^"]+",\s+"([^"]+)"', source)) | {"nginx", "s6"}
    assert len(named) == 5 and named <= set(packages)
