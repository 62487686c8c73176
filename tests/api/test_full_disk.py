"""The disk of the run directory is full: no job and no daemon ends, the log reports what it lost, /health warns."""

import os
import pathlib

import pytest

from sandbox import Server, mounting_is_allowed, wait_until, with_a_small_disk

pytestmark = [pytest.mark.host, pytest.mark.skipif(not mounting_is_allowed(), reason="no mount is allowed here")]

OK = {"status": "ok"}
DAEMONS = ("nginx", "fcgi-app", "procd")


@pytest.fixture
def server(tmp_path):
    os.chmod(tmp_path, 0o755)
    with Server(prefix=with_a_small_disk(str(tmp_path), "16m"), run_dir=tmp_path / "run") as server:
        yield server


def health(server):
    answer = server.get("/health", token=False)
    assert answer.status_code == 200
    return answer.json()


def fill(server):
    server.run(f"cat /dev/zero >{server.run_dir}/filler; cat /dev/zero >>{server.run_dir}/filler")
    wait_until(lambda: "warnings" in health(server), "health to know it")
    assert health(server)["status"] == "ok" and "no space left" in health(server)["warnings"][0]


def dropped(server, job):
    return server.get(f"/get_process?id={job['id']}").json()["lines_dropped"]


def make_room(server):
    assert server.post("/delete_file", path=f"{server.run_dir}/filler").json() == {"success": True}
    assert health(server) == OK


def await_lines_after_a_gap(server, identifier):
    """Follows a log until 60 lines in a row have come after a gap."""
    lines = None
    with server.logs(identifier) as stream:
        for event in stream:
            if event.name == "gap":
                lines = 0
            elif lines is not None:
                lines += 1
                if lines == 60:
                    return


def counted(server, identifier):
    """The numbers that a log holds; fails unless gap events report each gap in it, line for line."""
    numbers, missed = [], 0
    with server.logs(identifier) as stream:
        for event in stream:
            if event.name == "log":
                number = int(event.data["data"].split()[0])
                assert number == (numbers[-1] if numbers else 0) + missed + 1
                numbers.append(number)
                missed = 0
            elif event.name == "gap":
                missed += event.data["missed_lines"]
    return numbers


def test_nothing_ends(server):
    assert health(server) == OK
    pids = {name: server.daemon(name) for name in DAEMONS}
    job = server.start("i=0; while :; do i=$((i + 1)); echo $i " + "x" * 500 + "; sleep 0.002; done")
    fill(server)
    wait_until(lambda: dropped(server, job) > 0, "the log to lose lines")
    assert server.run("echo fine") == {"stdout": "fine\n", "stderr": "", "code": 0}
    assert server.shell("head -c 3000000 /dev/zero | tr '\\0' x") == "x" * 3_000_000
    with server.stream("seq 1000") as stream:
        assert [event.data["data"] for event in stream if event.name == "output"] == [str(number) for number in range(1, 1001)]
    for path, body in (("/start_process", {"cmd": "true"}), ("/bind_port", {"port": "8080"})):
        answer = server.call("POST", path, body)
        assert answer.status_code == 500 and "no space left" in answer.json()["error"].lower()
    for number in range(1000):
        pathlib.Path(server.home, f"{number:04}{'x' * 200}").touch()
    answer = server.call("POST", "/list_dir", {"path": server.home})
    assert answer.status_code == 500 and "no space left" in answer.json()["error"].lower()
    assert server.post("/list_dir", path="/").json()["entries"]
    assert "no space left" in server.post("/write_file", path=f"{server.run_dir}/x", content="x" * 10_000).json()["error"].lower()
    assert server.status(job["id"]) == "running" and len(server.processes()) == 1
    with server.logs(job["id"]) as stream:  # what was there before can be read
        assert stream.next().data["data"].startswith("1 ")
    assert {name: server.daemon(name) for name in DAEMONS} == pids

    make_room(server)
    await_lines_after_a_gap(server, job["id"])
    late = server.start("echo late")
    assert server.lines(late["id"]) == ["late"]
    assert server.post("/bind_port", port="8080").status_code == 200
    assert server.kill(job["id"]).status_code == 200
    numbers = counted(server, job["id"])
    assert len(numbers) < numbers[-1], "the disk was not full"
    assert numbers[-1] - numbers[-51] == 50, "the last lines are there"
    assert {name: server.daemon(name) for name in DAEMONS} == pids


def test_daemons_start_again_on_a_full_disk(server):
    job = server.start("sleep 86400")["id"]
    fill(server)
    for name in DAEMONS:
        server.back(name, server.kill_daemon(name))
        assert server.status(job) == "running" and server.shell("echo fine") == "fine\n"
    make_room(server)
    assert server.lines(server.start("echo late")["id"]) == ["late"]
    wait_until(lambda: health(server) == OK, "no warning")
