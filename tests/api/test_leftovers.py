"""Jobs that start something and go: waiting for the whole tree, naming what was left, ending it."""

import pytest

from sandbox import SANITIZED, alive, wait_until


def info(sandbox, identifier):
    answer = sandbox.get(f"/get_process?id={identifier}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(sandbox, identifier):
    return next(process for process in sandbox.processes(full=True) if process["id"] == identifier)


# ---- waiting for the tree ----


def test_a_job_that_waits_for_its_tree(sandbox, workdir):
    """With wait_tree it ends when its last descendant has, also one in a session of its own, and with its shell's code."""
    go = f"{workdir}/go"
    waiter = f"until test -e {go}; do sleep 0.02; done; echo late"
    job = sandbox.start(f"setsid sh -c '({waiter}) &' & exit 3", wait_tree=True)
    other = sandbox.start(f"setsid sh -c '({waiter}) &' & exit 3")
    assert sandbox.ended(other["id"]) == "failed"
    assert sandbox.status(job["id"]) == "running"
    sandbox.shell(f"touch {go}")
    assert sandbox.ended(job["id"]) == "failed"
    assert sandbox.lines(job["id"]) == ["late"]
    end = info(sandbox, job["id"])
    assert (end["exit_code"], end["reason"], end["left"]) == (3, "exit", [])


def test_the_tree_is_killed_and_signalled_when_the_shell_has_ended(sandbox, marker):
    job = sandbox.start(f"{marker.sleep} & exit 0", wait_tree=True)
    marker.sleeping(sandbox)
    wait_until(lambda: not sandbox.find(f"sh -c -- {marker.text}"), "the shell to go")
    assert sandbox.status(job["id"]) == "running"
    assert sandbox.kill(job["id"]).status_code == 200
    assert (sandbox.status(job["id"]), marker.pids(sandbox)) == ("killed", [])
    job = sandbox.start(f"{marker.sleep} & exit 0", wait_tree=True)
    marker.sleeping(sandbox)
    assert sandbox.post("/kill_process", id=job["id"], signal="TERM").json()["message"] == "Signal sent"
    sandbox.ended(job["id"])
    assert marker.pids(sandbox) == []
    job = sandbox.start(f"{marker.sleep} & exit 0", wait_tree=True, timeout_ms=300, kill_grace_ms=0)
    assert sandbox.ended(job["id"]) == "failed" and info(sandbox, job["id"])["reason"] == "timeout"
    assert marker.pids(sandbox) == []


def test_wait_tree_is_a_flag(sandbox):
    assert sandbox.post("/start_process", cmd="true", wait_tree="yes").status_code == 400
    assert sandbox.run("true", wait_tree="unknown to /run")["code"] == 0


# ---- naming it, ending it ----


@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer traces a runner from a child of it, which would be killed with what is left")
@pytest.mark.host
def test_what_a_job_has_left(server, make_marker):
    """It is named by pid and program, parents first, also by a procd that has come since; and kill_process ends it."""
    marker = make_marker()
    job = server.start(f"setsid sh -c '{marker.sleep} & wait; exit' & echo started")
    assert server.ended(job["id"]) == "completed"
    pids = marker.sleeping(server)

    def left(entry):
        return [(process["pid"], process["command"]) for process in entry["left"]]

    wait_until(lambda: len(left(info(server, job["id"]))) == 2, "both to be named")
    named = left(info(server, job["id"]))
    assert [name for _, name in named] == ["sh", "sleep"] and named[1][0] in pids
    assert left(listed(server, job["id"])) == named
    assert "left" not in next(entry for entry in server.processes() if entry["id"] == job["id"])
    server.back("procd", server.kill_daemon("procd"))
    assert left(info(server, job["id"])) == named
    assert server.kill(job["id"]).json()["error"] == "process is not running (status: completed)"
    assert all(alive(pid) for pid, _ in named), "which ends nothing"
    answer = server.post("/kill_process", id=job["id"], left=True)
    assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Process killed successfully"})
    assert not any(alive(pid) for pid, _ in named)
    assert info(server, job["id"])["left"] == [] and info(server, job["id"])["status"] == "completed"
    answer = server.post("/kill_process", id=job["id"], left=True)
    assert (answer.status_code, answer.json()["error"]) == (400, "process has left nothing running (status: completed)")


@pytest.mark.skipif(SANITIZED, reason="LeakSanitizer traces a runner from a child of it, which would be killed with what is left")
def test_many_that_are_left(sandbox, marker):
    """Of more than are shown all are ended."""
    job = sandbox.start(f"for i in $(seq 100); do {marker.sleep} & done; exit 0")
    sandbox.ended(job["id"])
    wait_until(lambda: len(marker.pids(sandbox)) >= 100, "all to run")
    assert len(info(sandbox, job["id"])["left"]) == 64
    assert sandbox.post("/kill_process", id=job["id"], left=True).status_code == 200
    assert marker.pids(sandbox) == []


def test_left_of_a_job_that_runs_is_the_job(sandbox, marker):
    job = sandbox.start(marker.sleep)
    marker.sleeping(sandbox)
    assert sandbox.post("/kill_process", id=job["id"], left=True).status_code == 200
    assert sandbox.status(job["id"]) == "killed"
    assert info(sandbox, job["id"])["left"] == []


@pytest.mark.parametrize("more", [{"signal": "TERM"}, {"grace_ms": 10}, {"signal": "INT", "grace_ms": 10}])
def test_left_goes_with_sigkill(sandbox, more):
    job = sandbox.start("true")
    sandbox.ended(job["id"])
    assert sandbox.post("/kill_process", id=job["id"], left=True, **more).status_code == 400
    assert sandbox.post("/kill_process", id="00000000-0000-4000-8000-000000000000", left=True).status_code == 400
