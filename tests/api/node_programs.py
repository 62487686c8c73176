"""Programs for node with packages of npm's registry, which speak with a test in lines of JSON."""

import contextlib
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading

import pytest

from sandbox import TIMEOUT


@contextlib.contextmanager
def npm_packages(*packages):
    """Installs them (each NAME@VERSION) for as long as it lasts; where node finds them. Skips the test where they cannot be had."""
    if shutil.which("npm") is None:
        pytest.skip("needs npm")
    with tempfile.TemporaryDirectory(prefix="nxs-npm-") as directory:
        os.chmod(directory, 0o755)  # commands may be another user's
        done = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", directory, *packages], capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"npm installs no {' '.join(packages)}")
        yield os.path.join(directory, "node_modules")


class NodeProgram:
    """A script of this directory, or elsewhere by its whole path, that runs with such packages."""

    def __init__(self, modules, script, *arguments):
        path = pathlib.Path(__file__).parent / script
        self.process = subprocess.Popen(["node", path, *arguments], env={**os.environ, "NODE_PATH": modules}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.said = queue.Queue()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.said.put(json.loads(line))
        self.said.put(None)

    def say(self, what):
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self):
        """The next that it says; None at its end."""
        return self.said.get(timeout=TIMEOUT)

    def hear_until(self, condition):
        """All that it says until that is so."""
        heard = [self.hear()]
        while not condition(heard[-1]):
            assert heard[-1] is not None, heard
            heard.append(self.hear())
        return heard

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdin.close()
        self.process.stdout.close()
