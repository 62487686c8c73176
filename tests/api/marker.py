"""A process that a test finds again among all of the machine, and its end."""

import os
import signal
import uuid

from sandbox import alive, wait_until


class Marker:
    """A number that no other command line on the machine contains, in the form of a very long sleep."""

    def __init__(self):
        self.text = f"86400.{uuid.uuid4().int % 10**15:015d}"
        self.sleep = f"sleep {self.text}"

    def pids(self, sandbox):
        return [pid for pid, _ in sandbox.find(self.text)]

    def sleeping(self, sandbox, count=1):
        """Waits until `count` of the sleeps themselves run."""
        def look():
            found = [pid for pid, line in sandbox.find(self.text) if line.startswith("sleep ")]
            return found if len(found) >= count else None

        return wait_until(look, f"{count} processes with {self.sleep}")

    def gone(self, sandbox, deadline=None):
        wait_until(lambda: not self.pids(sandbox), f"the end of all with {self.sleep}", *([deadline] if deadline else []))


def end(sandbox, pids):
    if not sandbox.local:
        if pids:
            sandbox.run("kill -9 " + " ".join(map(str, pids)))
        return
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
