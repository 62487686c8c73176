"""
What a command tries on the server that runs it: a program of its own, for Python's -c, run by test_privileges.py as a command.
It reads {"pids": {name: pid}, "run": path, "job": id, "cgroups": [path], "cgroup_files": [path]} from standard input and
prints {attack: {target: outcome}}, where an outcome is the name of the errno that refused it, or "done".
"""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
NUMBERS = {"x86_64": {"ioprio_set": 251, "process_vm_readv": 310, "kcmp": 312, "ptrace": 101, "pidfd_getfd": 438, "pidfd_send_signal": 424},
           "aarch64": {"ioprio_set": 30, "process_vm_readv": 270, "kcmp": 272, "ptrace": 117, "pidfd_getfd": 438, "pidfd_send_signal": 424}}
NUMBER = NUMBERS[os.uname().machine]


def call(name, *arguments):
    if libc.syscall(NUMBER[name], *[ctypes.c_void_p(argument) if isinstance(argument, int) else argument for argument in arguments]) < 0:
        raise OSError(ctypes.get_errno(), name)


def read_memory(pid):
    buffer = ctypes.create_string_buffer(8)
    local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    remote = (ctypes.c_void_p * 2)(0x400000, 8)
    call("process_vm_readv", pid, local, 1, remote, 1, 0)


def take_descriptor(pid):
    call("pidfd_getfd", os.pidfd_open(pid), 0, 0)


def signal_by_descriptor(pid):
    call("pidfd_send_signal", os.pidfd_open(pid), signal.SIGSTOP, None, 0)


def open_file(name, flags):
    def attack(pid):
        descriptor = os.open(f"/proc/{pid}/{name}", flags)
        try:
            if flags == os.O_RDONLY:  # some refuse only here
                os.read(descriptor, 1)
            else:
                os.write(descriptor, b"1")
        finally:
            os.close(descriptor)

    return attack


ON_PROCESSES = {
    **{f"kill {number.name}": lambda pid, number=number: os.kill(pid, number)
       for number in (signal.SIGCONT, signal.SIGSTOP, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL)},
    "signal 0": lambda pid: os.kill(pid, 0),
    "pidfd_send_signal": signal_by_descriptor,
    "pidfd_getfd": take_descriptor,
    "renice": lambda pid: os.setpriority(os.PRIO_PROCESS, pid, 19),
    "taskset": lambda pid: os.sched_setaffinity(pid, {0}),
    "chrt": lambda pid: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)),
    "ionice": lambda pid: call("ioprio_set", 1, pid, 3 << 13),
    "ptrace attach": lambda pid: call("ptrace", 16, pid, 0, 0),
    "ptrace seize": lambda pid: call("ptrace", 0x4206, pid, 0, 0),
    "process_vm_readv": read_memory,
    "kcmp": lambda pid: call("kcmp", os.getpid(), pid, 0, 0, 0),
    "prlimit": lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, 3)),
    **{f"read {name}": open_file(name, os.O_RDONLY) for name in ("mem", "environ", "maps", "auxv", "syscall", "stack", "io")},
    **{f"write {name}": open_file(name, os.O_WRONLY) for name in ("mem", "oom_score_adj", "comm", "clear_refs", "timerslack_ns")},
    **{f"follow {name}": lambda pid, name=name: os.readlink(f"/proc/{pid}/{name}") for name in ("exe", "cwd", "root", "fd/0", "ns/mnt")},
    "list fd": lambda pid: os.listdir(f"/proc/{pid}/fd"),
    "list cwd": lambda pid: os.listdir(f"/proc/{pid}/cwd/"),
    "list root": lambda pid: os.listdir(f"/proc/{pid}/root/"),
}


def connect(kind):
    def attack(path):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.connect(path)

    return attack


# What is tried on which paths in the run directory, where JOB is a job's id.
PATHS = {
    "connect": ("fcgi-app.sock", "terminal.sock", "procd.sock", "state/jobs/JOB/runner.sock"),
    "list": ("", "state", "state/jobs", "state/jobs/JOB", "spool", "port", "nginx", "service"),
    "enter": ("", "state", "state/jobs", "state/jobs/JOB", "spool", "port", "nginx", "service"),
    "read": ("nginx/generated/token.conf", "nginx/generated/secrets.conf", "nginx/access.log", "supervisor", "service/procd/run", "state/jobs/JOB/record",
             "nginx/nginx.conf"),
    "write": ("service/procd/supervise/control", "port/target", "nginx/nginx.conf", "new"),
    "remove": ("fcgi-app.sock", "port/target", "cwd", "service/procd/leader", ""),
}
ON_PATHS = {
    "connect": lambda path: connect(socket.SOCK_STREAM if path.endswith(("/fcgi-app.sock", "/terminal.sock")) else socket.SOCK_SEQPACKET)(path),
    "list": os.listdir,
    "enter": os.chdir,
    "read": lambda path: os.open(path, os.O_RDONLY),
    "write": lambda path: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK),
    "remove": lambda path: os.rename(path, f"{path.rstrip('/')}.moved"),
}


def on_paths(run, job, attacks=tuple(PATHS)):
    return {attack: {name: outcome(ON_PATHS[attack], f"{run}/{name.replace('JOB', job)}") for name in PATHS[attack]} for attack in attacks}


def write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def raise_limit(name):
    limit = getattr(resource, name) if isinstance(name, str) else name
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (hard + 1, hard + 1))


def make_directory(path):
    os.mkdir(path)
    os.rmdir(path)


def on_cgroups(places, files):
    """Leaving a cgroup is entering another, for instance the one above all."""
    return {"leave its cgroup": {path: outcome(write, f"{path}/cgroup.procs", str(os.getpid())) for path in places},
            "make a cgroup": {path: outcome(make_directory, f"{path}/own") for path in places},
            "write in a cgroup": {path: outcome(os.open, path, os.O_WRONLY) for path in files}}


ON_ITSELF = {
    "outlive the daemons": lambda: write("/proc/self/oom_score_adj", "-1"),
    "lose the mark": lambda: raise_limit(10),  # RLIMIT_LOCKS
    "raise RLIMIT_NOFILE": lambda: raise_limit("RLIMIT_NOFILE"),
    "become root": lambda: os.setuid(0),
    "take root's group": lambda: os.setgroups([0]),
    "be nice to itself": lambda: os.setpriority(os.PRIO_PROCESS, 0, -5),
}


def outcome(attack, *arguments):
    try:
        attack(*arguments)
    except ValueError as error:
        return str(error)  # resource.setrlimit, of a limit that may not be raised
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"


def main():
    wish = json.load(sys.stdin)
    outcomes = {name: {target: outcome(attack, pid) for target, pid in wish["pids"].items()} for name, attack in ON_PROCESSES.items()}
    outcomes |= on_paths(wish["run"], wish["job"])
    outcomes |= on_cgroups(wish["cgroups"], wish["cgroup_files"])
    outcomes["itself"] = {name: outcome(attack) for name, attack in ON_ITSELF.items()}
    print(json.dumps(outcomes))


main()
