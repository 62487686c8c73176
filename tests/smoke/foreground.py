"""A server in the foreground as a user starts it: `make run` or bin/nginx-sandbox, and the end of it."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import uuid

from sandbox import BIN, DEADLINE, REPOSITORY, LineCollector, Launch, Port, proc_file, proc_stat, alive, refused, wait_until

READY = re.compile(r"^nginx-sandbox: ready on (http://\S+) and every other address \(TCP proxy on port (\d+)\)$", re.M)
SECRET = re.compile(r"^export SANDBOX_URL=\S+ SANDBOX_TOKEN=(\S+)$", re.M)
MAKE_RUN = ["make", "-C", str(REPOSITORY), "run"]
LAUNCHER = [str(BIN / "nginx-sandbox")]


def own_tmp(home):
    """A prefix of a command line: the command has `home` as its /tmp, where fresh run directories are made."""
    prefix = ["unshare", "-m", "sh", "-c", f"mount --bind {home} /tmp && exec \"$@\"", "sh"]
    return prefix if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode == 0 else []


class Foreground(Launch):
    """One run of a command in a session of its own, on two free ports, with `settings` in its environment."""

    def __init__(self, command, settings=None, cwd=None):
        self.ports = Port(), Port()
        self.port, self.proxy_port = (port.number for port in self.ports)
        self.mark = uuid.uuid4().hex
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("SANDBOX_", "MAKE")) and name not in ("MFLAGS", "PORT", "PROXY_PORT")}
        environment.update({"PORT": str(self.port), "PROXY_PORT": str(self.proxy_port)}, NGINX_SANDBOX_TEST=self.mark)
        environment.update(settings or {})
        environment = {name: value for name, value in environment.items() if value is not None}
        self.process = subprocess.Popen(command, env=environment, start_new_session=True, cwd=cwd,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pid = self.process.pid
        self.stdout, self.stderr = LineCollector(self.process.stdout), LineCollector(self.process.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        run_dir = self._find_run_dir()
        self.destroy()
        if run_dir:
            shutil.rmtree(run_dir, ignore_errors=True)
        for port in self.ports:
            port.free()

    @property
    def url(self):
        """The URL that the server prints once it is ready. Building it first may take a while."""
        def look():
            assert self.process.poll() is None, self.output()
            return READY.search(self.stdout.text)

        url, proxy_port = wait_until(look, "the URL line", 120).groups()
        assert (url, proxy_port) == (f"http://127.0.0.1:{self.port}", str(self.proxy_port))
        return url

    @property
    def secret(self):
        """The secret that --generate-secret made, printed exactly once."""
        found = SECRET.findall(self.stdout.text)
        assert len(found) == 1 and len(found[0]) >= 32
        return found[0]

    @property
    def run_dir(self):
        """Where the server keeps its files."""
        return wait_until(self._find_run_dir, "s6-svscan")

    def _find_run_dir(self):
        """From s6-svscan's argument; None while there is none."""
        for pid in self.tree():
            line = proc_file(pid, "cmdline").split(b"\0")
            if line[0] == b"s6-svscan":
                return pathlib.Path(line[1].decode()).parent
        return None

    def end(self, number=signal.SIGTERM, group=False):
        """Sends the signal and checks that within 10 s everything is gone. The exit status."""
        run_dir = self.run_dir
        before = {pid: stat[2] for pid in self.tree() if (stat := proc_stat(pid))}
        (os.killpg if group else os.kill)(self.pid, number)
        status, _, _ = self.wait(10)

        def remaining():
            return [pid for pid, start in before.items() if alive(pid) and (stat := proc_stat(pid)) and stat[2] == start]

        if number == signal.SIGKILL:  # who was killed awaits nobody
            wait_until(lambda: not self.marked() and not remaining(), "the end of all", 10)
        left = remaining()
        left = {pid: proc_file(pid, "cmdline") for pid in {*left, *self.marked()}}
        assert not left, f"processes left behind: {left}"
        self.check_nothing_left(run_dir)
        return status

    def check_nothing_left(self, run_dir=None):
        assert not self.stdout.is_alive() and not self.stderr.is_alive(), "something holds the output"
        assert not self.marked(), "processes left behind"
        assert refused("127.0.0.1", self.port) and refused("127.0.0.1", self.proxy_port)
        assert run_dir is None or not run_dir.exists(), f"{run_dir}: {os.listdir(run_dir)}"

    def fails(self, *words):
        """Checks that it ends at once, unsuccessfully, with one line that holds all the words. That line."""
        status, _, complaint = self.wait(DEADLINE)
        assert status not in (0, None), self.output()
        assert complaint.count("\n") == 1 and complaint.endswith("\n"), complaint
        for word in words:
            assert word in complaint
        assert not self.marked(), "processes left behind"
        return complaint
