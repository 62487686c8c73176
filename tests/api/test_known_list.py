"""GET /list_processes while other clients ask for the same: the list that is given again is never older than what a client has been told."""

import concurrent.futures
import threading

import pytest


@pytest.fixture
def sandbox(make_server):
    """With a list of its own, which is short enough to be kept."""
    return make_server()


@pytest.fixture
def readers(sandbox):
    """Clients that read the list all the time, so that it is always known."""
    over = threading.Event()

    def read():
        while not over.is_set():
            assert sandbox.get("/list_processes").status_code == 200

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        reading = [pool.submit(read) for _ in range(2)]
        yield
        over.set()
        for each in reading:
            each.result()


def entry(sandbox, job):
    return next((each for each in sandbox.get("/list_processes").json()["processes"] if each["id"] == job), None)


@pytest.mark.usefixtures("readers")
def test_each_step_is_listed_at_once(sandbox):
    for _ in range(30):
        job = sandbox.start("exec sleep 60")["id"]
        assert entry(sandbox, job)["status"] == "running"
        sandbox.post("/kill_process", id=job)
        assert entry(sandbox, job)["exit_code"] == -1
        sandbox.post("/delete_process", id=job)
        assert entry(sandbox, job) is None


@pytest.mark.usefixtures("readers")
@pytest.mark.parametrize("told", ["stream", "wait"])
def test_who_was_told_of_an_end_finds_it_listed(sandbox, told):
    """The exit record, which ends a stream, is there before procd hears of the end."""
    for code in range(60):
        job = sandbox.start(f"exit {code}")["id"]
        if told == "stream":
            assert sandbox.logs(job).events()[-1].name == "complete"
        else:
            assert sandbox.post("/wait_process", id=job).json()["exit_code"] == code
        assert entry(sandbox, job)["exit_code"] == code
