"""The supervisor's own processes die: the server comes back, and nothing runs twice."""

import os
import signal
import subprocess

import pytest
import requests

from foreground import LAUNCHER, Foreground
from sandbox import Sandbox, all_pids, alive, proc_file, wait_until


def commands(server):
    """{pid: command line} of everything that the server has started."""
    return {pid: proc_file(pid, "cmdline").replace(b"\0", b" ").decode() for pid in server.tree()}


def find(server, words):
    return [pid for pid, line in commands(server).items() if words in line]


def answers(sandbox):
    try:
        return sandbox.run("true", timeout=5)["code"] == 0
    except (AssertionError, KeyError, requests.RequestException):
        return False


@pytest.mark.parametrize("victim", ["s6-supervise nginx", "s6-supervise fcgi-app", "s6-supervise procd", "bin/nginx-sandbox nginx -r"])
def test_a_killed_supervisor_is_replaced(victim):
    with Foreground(LAUNCHER, {"SANDBOX_SECRET": "supervised"}) as server:
        sandbox = Sandbox(server.url, ("127.0.0.1", server.proxy_port), "supervised")
        run_dir = str(server.run_dir)
        job = sandbox.start("sleep 86400")["id"]
        daemons = (f"{run_dir}/bin/fcgi-app ", f"{run_dir}/bin/procd ", "nginx: master process ")
        old, = find(server, victim)
        os.kill(old, signal.SIGKILL)

        def replaced():
            pids = find(server, victim)
            return len(pids) == 1 and pids != [old] and all(len(find(server, words)) == 1 for words in daemons)

        wait_until(replaced, f"one {victim} and one of each daemon", 10)
        wait_until(lambda: answers(sandbox), "an answer")
        assert [process["id"] for process in sandbox.processes() if process["status"] == "running"] == [job]
        assert server.end() == 0
        assert not [pid for pid in all_pids() if run_dir.encode() in proc_file(pid, "cmdline") and alive(pid)]


def test_a_reload_through_the_supervisor():
    """s6-svc -h reaches the master: new workers, the same master, and a stream in the old worker lives on."""
    with Foreground(LAUNCHER, {"SANDBOX_SECRET": "supervised"}) as server:
        sandbox = Sandbox(server.url, ("127.0.0.1", server.proxy_port), "supervised")
        job = sandbox.start("echo first; while [ ! -e go ]; do sleep 0.05; done; echo last", cwd=str(server.run_dir))["id"]
        with requests.get(f"{server.url}/process_logs_streaming", params={"id": job}, stream=True, timeout=20,
                          headers={"Authorization": "Bearer supervised"}) as stream:
            lines = stream.iter_lines()
            assert any(b"first" in line for line in lines)
            master, workers = find(server, "nginx: master process"), find(server, "nginx: worker process")
            subprocess.run(["s6-svc", "-h", f"{server.run_dir}/service/nginx"], check=True)
            wait_until(lambda: set(find(server, "nginx: worker process")) - set(workers), "new workers")
            # (A new worker is called master until it has given itself a name.)
            wait_until(lambda: find(server, "nginx: master process") == master, "the same master, and one")
            assert answers(sandbox)
            (server.run_dir / "go").touch()
            rest = b"\n".join(lines)
            assert b"last" in rest and b"event: complete" in rest
        assert server.end() == 0
