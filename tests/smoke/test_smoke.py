"""The server as the README starts it: `make run`, the first examples with curl, the end by a signal."""

import json
import re
import shlex
import signal
import subprocess

import pytest

from foreground import LAUNCHER, MAKE_RUN, Foreground
from sandbox import EventStream, Sandbox, all_pids, alive, proc_file, wait_until

EXAMPLE = """curl $SANDBOX_URL/run -H "Authorization: Bearer $SANDBOX_TOKEN" -d '{"cmd": "uname -a"}'"""


def curl(*arguments):
    done = subprocess.run(["curl", "-sS", "--max-time", "10", *arguments], stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def client(server, secret):
    return Sandbox(server.url, ("127.0.0.1", server.proxy_port), secret)


def test_make_run_and_curl():
    """The seed's examples, one after the other, against `make run` without a secret."""
    with Foreground(MAKE_RUN) as server:
        url = server.url
        bearer = ("-H", f"Authorization: Bearer {server.secret}", "-H", "Content-Type: application/json")

        def post(endpoint, /, **fields):
            return json.loads(curl("-X", "POST", f"{url}{endpoint}", *bearer, "-d", json.dumps(fields)))

        assert json.loads(curl(f"{url}/health")) == {"status": "ok"}
        assert "error" in json.loads(curl("-X", "POST", f"{url}/run", "-d", '{"cmd": "id"}'))
        answer = post("/run", cmd='echo "Hello $VAR_NAME from $(pwd)"', cwd="/tmp", env={"VAR_NAME": "World"})
        assert (answer["stdout"], answer["stderr"], answer["code"]) == ("Hello World from /tmp\n", "", 0)
        stream = curl("-N", "-X", "POST", f"{url}/run_streaming", *bearer, "-d", '{"cmd": "echo line 1"}')
        assert re.search(r'\nevent: complete\ndata: \{"code":0,"error":false.*\}\nid: \d+\n\n$', stream)

        directory = f"/tmp/smoke-{server.mark}"
        assert post("/make_dir", path=directory) == {"success": True}
        assert post("/write_file", path=f"{directory}/file", content="file contents") == {"success": True}
        assert post("/read_file", path=f"{directory}/file") == {"content": "file contents"}
        assert post("/list_dir", path=directory) == {"entries": ["file"]}
        assert post("/delete_dir", path=directory) == {"success": True}

        identifier = post("/start_process", cmd="echo started; sleep 1000")["id"]
        processes = json.loads(curl(f"{url}/list_processes", *bearer))["processes"]
        assert [(process["id"], process["status"]) for process in processes] == [(identifier, "running")]
        assert post("/kill_process", id=identifier)["success"] is True
        log = curl(f"{url}/process_logs_streaming?id={identifier}", *bearer)
        assert '"data":"started"' in log and "event: complete" in log

        assert post("/bind_port", port=str(server.port))["success"] is True
        assert json.loads(curl(f"http://127.0.0.1:{server.proxy_port}/health")) == {"status": "ok"}
        assert post("/unbind_port")["success"] is True
        # The lines that `make run` ends with, pasted into a shell.
        assert [line for line in server.stdout.text.splitlines() if line.startswith(("export ", "curl ", "nginx-sandbox: "))][-4:] == [
            "nginx-sandbox: generated a secret; paste into another shell:", f"export SANDBOX_URL={url} SANDBOX_TOKEN={server.secret}",
            EXAMPLE, f"nginx-sandbox: ready on {url} and every other address (TCP proxy on port {server.proxy_port})"]
        done = subprocess.run(["sh", "-c", f"export SANDBOX_URL={url} SANDBOX_TOKEN={server.secret}\n{EXAMPLE}"], stdout=subprocess.PIPE, check=True)
        assert json.loads(done.stdout)["stdout"].startswith("Linux ")
        server.end()


def busy(server, secret):
    """Keeps the server busy: an open stream, and jobs that will not end by themselves."""
    sandbox = client(server, secret)
    stubborn = f"trap '' TERM INT HUP; while :; do sleep 0.1; done # {server.mark}"
    stream = sandbox.stream("echo open; " + stubborn)
    assert stream.next().data["data"] == "open"
    identifier = sandbox.start(f"setsid sh -c {shlex.quote(stubborn)} & {stubborn}")["id"]
    log = EventStream(sandbox, "GET", f"/process_logs_streaming?id={identifier}")
    wait_until(lambda: len(stubborn_pids(server)) >= 3, "three stubborn commands")
    return stream, log


def stubborn_pids(server):
    return [pid for pid in all_pids() if server.mark.encode() in proc_file(pid, "cmdline") and alive(pid)]


# make does not pass on a SIGINT that it alone gets (GNU make passes SIGTERM); a terminal sends it to the group.
@pytest.mark.parametrize("command, number, group", [
    (MAKE_RUN, signal.SIGTERM, False), (MAKE_RUN, signal.SIGTERM, True), (MAKE_RUN, signal.SIGINT, True),
    (MAKE_RUN, signal.SIGKILL, False),
    (LAUNCHER, signal.SIGTERM, False), (LAUNCHER, signal.SIGTERM, True),
    (LAUNCHER, signal.SIGINT, False), (LAUNCHER, signal.SIGINT, True),
])
def test_a_signal_ends_everything(command, number, group):
    with Foreground(command, {"SANDBOX_SECRET": "smoke"}) as server:
        streams = busy(server, "smoke")
        status = server.end(number, group)
        assert command is MAKE_RUN or status == 0
        assert not stubborn_pids(server)
        for stream in streams:
            stream.close()


def test_no_rain_of_signals_cuts_the_end_short():
    """Whichever program the foreground process just is on its way out, a further signal does not end it."""
    for _ in range(5):
        with Foreground(LAUNCHER, {"SANDBOX_SECRET": "smoke"}) as server:
            client(server, "smoke").start(f"trap '' TERM; setsid sleep 86400 # {server.mark}")
            run_dir = server.run_dir
            while server.process.poll() is None:
                server.process.send_signal(signal.SIGTERM)
            assert server.process.returncode == 0
            assert not stubborn_pids(server)
            server.wait()
            server.check_nothing_left(run_dir)


def test_make_leaves_no_trace_in_commands():
    """A command that runs make must not find the variables of the make that started the server."""
    with Foreground([*MAKE_RUN, "-j2"], {"SANDBOX_SECRET": "smoke"}) as server:
        names = {line.partition("=")[0] for line in client(server, "smoke").shell("env").splitlines()}
        assert not {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"} & names
        server.end()
