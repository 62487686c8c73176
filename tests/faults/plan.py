"""struct fault_plan of fault.h, and a file of them that the daemons of a server share with the test."""

import ctypes
import mmap
import os

ROLES = ("fcgi-app", "procd", "runner", "guard")
OFF, FAIL, INTERRUPT, SHORTEN = range(4)
MEMORY, CALL, LIBFCGI, ANY = 1, 2, 4, 3


class Plan(ctypes.Structure):
    _fields_ = [("mode", ctypes.c_uint32), ("kinds", ctypes.c_uint32), ("at", ctypes.c_uint32), ("count", ctypes.c_uint32),
                ("calls", ctypes.c_uint32), ("fired", ctypes.c_uint32), ("caller", ctypes.c_uint64), ("name", ctypes.c_char * 32),
                ("only", ctypes.c_char * 32), ("rest", ctypes.c_uint8 * 32)]

    def arm(self, at, count=1, kinds=ANY, mode=FAIL, only=""):
        """From now on the `at`-th call of all processes of the role, and `count` - 1 after it, fails; of this name only, if given."""
        self.mode = OFF
        self.kinds, self.at, self.count, self.calls, self.fired, self.caller, self.name = kinds, at, count, 0, 0, 0, b""
        self.only = only.encode()
        self.mode = mode

    def disarm(self):
        """Ends it; how many calls have failed."""
        self.mode = OFF
        return self.fired

    def __str__(self):
        return f"call {self.at}: {self.name.decode()} from {self.caller:#x}"


class Plans:
    """The plans of all roles, by their names; `settings` are what a server needs in its environment to follow them."""

    def __init__(self, directory, library):
        path = os.path.join(directory, "plans")
        size = len(ROLES) * ctypes.sizeof(Plan)
        with open(path, "w+b") as file:
            file.truncate(size)
            os.chmod(path, 0o666)  # whatever user a daemon is
            self.memory = mmap.mmap(file.fileno(), size)
        self.plans = {role: Plan.from_buffer(self.memory, i * ctypes.sizeof(Plan)) for i, role in enumerate(ROLES)}
        self.settings = {"LD_PRELOAD": str(library), "FAULT_PLANS": path}

    def __getitem__(self, role):
        return self.plans[role]
