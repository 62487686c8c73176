"""What tests of limits share: the controllers that cgroups of theirs have, what to do without, and a fork bomb."""

import contextlib
import fcntl
import os
import pathlib

import pytest

IN_VM = "IN_VM" in os.environ  # tests/vm/inside says so

BOMB = """exec python3 -c '
import os, time
while True:
    try: os.fork()
    except OSError: time.sleep(2)
'"""


def skip_unless_vm(reason):
    """Skips a test of limits where there can be none. In a machine of our own there can, so that it fails."""
    (pytest.fail if IN_VM else pytest.skip)(reason)


@contextlib.contextmanager
def lent(point, controllers):
    """
    Meanwhile the cgroups below `point`, where cgroup version 2 is mounted, have these controllers; OSError where they cannot.
    Other test processes may want them at the same time: the last one takes away what was not there before the first.
    """
    control = point / "cgroup.subtree_control"
    with contextlib.ExitStack() as stack:
        lock = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, lock)
        # What is to be taken away. In /run nobody but root can have made it before us, and it does not outlive a boot.
        record = pathlib.Path(f"/run/nxs-lent-controllers-{os.fstat(lock).st_ino}")
        fcntl.flock(lock, fcntl.LOCK_SH)
        missing = set(controllers) - set(control.read_text().split())
        control.write_text("".join(f"+{name} " for name in missing))
        try:
            with open(record, "a", encoding="ascii") as taken:
                taken.write("".join(f"-{name} " for name in missing))
            yield
        finally:
            with contextlib.suppress(OSError):  # others need them
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                control.write_text(record.read_text())
                record.unlink()
