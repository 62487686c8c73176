"""The order between a command's stdout and stderr, as far as two pipes can tell it; and merge_stderr, which gives all of it."""

import json

import pytest

from sandbox import BIG_TIMEOUT, TIMEOUT, in_threads

# Two pieces on the two streams in either order, again and again; the next two when the reader has taken both. With one turn
# from stream to stream in the pipes at a time their order is always known, however late the reader is.
TAKEN = """
import array, fcntl, os, random, termios, time

def taken(fd):
    left = array.array('i', [1])
    fcntl.ioctl(fd, termios.FIONREAD, left)
    return left[0] == 0
"""
PAIRS = TAKEN + """
for number in range(200):
    first = random.choice((1, 2))
    for fd in (first, 3 - first):
        os.write(fd, b'%d %d\\n' % (number * 2 + (fd != first), fd))
        if number % 2:
            time.sleep(0.001)
    while not (taken(1) and taken(2)):
        time.sleep(0.0001)
"""
BIG = "seq -f %099.0f 1000"  # 100 KB: more than a pipe holds


def streamed(sandbox, cmd, **fields):
    """[(stream, line)] of /run_streaming."""
    with sandbox.stream(cmd, **fields) as stream:
        *events, last = stream.events()
    assert last.name == "complete", last
    return [(event.data["stream"], event.data["data"]) for event in events]


def logged(sandbox, cmd, **fields):
    """[(stream, line)] of the log of a job."""
    with sandbox.logs(sandbox.start(cmd, **fields)["id"]) as stream:
        *events, last = stream.events()
    assert last == ("complete", {"message": "stream ended"}), last
    return [(event.data["stream"], event.data["data"]) for event in events]


either_way = pytest.mark.parametrize("output_of", [streamed, logged])


def repeatedly(check, times=200, at_once=4):
    def some(_):
        for _ in range(times // at_once):
            check()

    in_threads(at_once, some)


@either_way
def test_what_comes_last_is_last(sandbox, output_of):
    """A line on stderr after more on stdout than a pipe holds comes after all of it."""
    def check():
        lines = output_of(sandbox, f"{BIG}; echo end >&2")
        assert len(lines) == 1001 and lines[-1] == ("stderr", "end")

    repeatedly(check)


@either_way
def test_what_comes_first_is_first(sandbox, output_of):
    """A line on stderr before it comes before all of it, although the command was quicker than its reader."""
    def check():
        lines = output_of(sandbox, f"echo first >&2; {BIG}")
        assert len(lines) == 1001 and lines[0] == ("stderr", "first")

    repeatedly(check)


@either_way
def test_turns_from_stream_to_stream(sandbox, output_of):
    """Lines that change the stream come in their order, 200 pairs in each of several runs."""
    def check():
        lines = output_of(sandbox, 'exec python3 -c "$SCRIPT"', env={"SCRIPT": PAIRS})
        names = {"1": "stdout", "2": "stderr"}
        assert [line.split()[0] for _, line in lines] == [str(number) for number in range(400)]
        assert all(names[line.split()[1]] == stream for stream, line in lines)

    repeatedly(check, 8, 2)


@either_way
@pytest.mark.parametrize("first", ["stdout", "stderr"])
def test_the_end_of_the_output(sandbox, marker, output_of, first):
    """What is read when a command has ended, while something that it left holds its pipes, keeps its order; so do last
    lines without a newline."""
    fd, other = (1, 2) if first == "stdout" else (2, 1)
    second = "stderr" if first == "stdout" else "stdout"

    def check():
        lines = output_of(sandbox, f"{marker.sleep} & {BIG} >&{fd}; printf c >&{fd}; printf d >&{other}")
        assert lines[1000:] == [(first, "c"), (second, "d")]

    repeatedly(check, 40)


FIVE = TAKEN + """
for number in range(5):
    os.write(2, b'%d\\n' % number)
    while not taken(2):
        time.sleep(0.001)
"""


@pytest.mark.parametrize("endless", ["stdout", "stderr"])
@pytest.mark.parametrize("path", ["/run", "/run_streaming", "/start_process"])
def test_a_stream_without_end_hides_nothing(sandbox, path, endless):
    """While one stream is written to without a pause the other one is read, too: the command waits for that, and ends."""
    swap = "3>&1 1>&2 2>&3" if endless == "stderr" else ""
    fields = {"cmd": f"(yes & python3 -c \"$SCRIPT\"; kill $!) {swap}", "env": {"SCRIPT": FIVE}}
    if path == "/start_process":
        job = sandbox.start(fields["cmd"], env=fields["env"])["id"]
        assert sandbox.post("/wait_process", id=job, timeout_ms=int(TIMEOUT * 1000)).json()["status"] == "completed"
    else:
        assert sandbox.call("POST", path, fields, timeout=BIG_TIMEOUT).status_code == 200


# ---- merge_stderr ----

TURNS = "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; printf x >&2; echo y; i=$((i+1)); done; printf z >&2"
MERGED = [line for i in range(300) for line in (f"o{i}", f"e{i}", "xy")] + ["z"]


@either_way
def test_merged_lines(sandbox, output_of):
    """With merge_stderr the order is exact, and everything is stdout."""
    assert output_of(sandbox, TURNS, merge_stderr=True) == [("stdout", line) for line in MERGED]


def test_a_merged_answer(sandbox):
    assert sandbox.run(TURNS, merge_stderr=True) == {"stdout": "\n".join(MERGED), "stderr": "", "code": 0}
    assert sandbox.run("echo o; echo e >&2", merge_stderr=False) == {"stdout": "o\n", "stderr": "e\n", "code": 0}


@pytest.mark.parametrize("path", ["/run", "/run_streaming", "/start_process"])
@pytest.mark.parametrize("value", ["yes", 1, [], {}])
def test_merge_stderr_is_a_flag(sandbox, path, value):
    answer = sandbox.post(path, cmd="true", merge_stderr=value)
    assert answer.status_code == 400 and "merge_stderr" in answer.json()["error"]


def test_merging_goes_with_everything_else(sandbox):
    """stdin, a timeout, a grace, an environment, a directory, and a command too long for an argument."""
    fields = {"merge_stderr": True, "env": {"A": "b"}, "cwd": "/", "timeout_ms": 60000, "kill_grace_ms": 10}
    answer = sandbox.run("cat; pwd >&2; echo $A; echo $A >&2 #" + "x" * 200000, stdin="input\n", **fields)
    assert answer == {"stdout": "input\n/\nb\nb\n", "stderr": "", "code": 0}
    answer, facts = sandbox.run_with_facts("trap 'echo over >&2; exit' TERM; echo begun; sleep 86400 & wait",
                                           merge_stderr=True, timeout_ms=2000, kill_grace_ms=int(TIMEOUT * 1000))
    assert answer["stdout"] == "begun\nover\n" and facts["reason"] == "timeout"
    job = sandbox.start("cat >&2; echo end", merge_stderr=True, stdin=True)["id"]
    assert sandbox.post("/write_stdin", id=job, data="typed\n", eof=True).status_code == 200
    assert sandbox.lines(job) == ["typed", "end"]


def test_what_merged_commands_leave_can_write_on(sandbox, marker, workdir):
    """Something that lives on with the one pipe of a run or a job is not killed by writing to it."""
    cmd = f"(while [ ! -e {workdir}/go ]; do sleep 0.02; done; yes | head -c 300000; echo over >&2; touch {workdir}/$N) &"
    assert sandbox.run(cmd, merge_stderr=True, env={"N": "run"})["code"] == 0
    assert sandbox.lines(sandbox.start(cmd, merge_stderr=True, env={"N": "job"})["id"]) == []
    sandbox.shell(f"touch {workdir}/go; while [ ! -e {workdir}/run ] || [ ! -e {workdir}/job ]; do sleep 0.02; done")


@pytest.mark.host
def test_all_of_the_output_is_for_the_merged_stream(make_server):
    """Nothing of SANDBOX_MAX_OUTPUT is kept back for a stderr that cannot come."""
    server = make_server({"SANDBOX_MAX_OUTPUT": "100000"})
    cut = json.loads(server.call("POST", "/run", {"cmd": "yes | head -c 200000 >&2", "merge_stderr": True}).content)
    assert len(cut["stdout"]) == 100000 and cut["stderr"] == "" and cut["truncated"] is True
    whole = server.run("yes | head -c 100000 >&2", merge_stderr=True)
    assert len(whole["stdout"]) == 100000 and "truncated" not in whole


@pytest.mark.host
def test_a_merged_job_outlives_procd(server, tmp_path):
    """The runner keeps the one pipe while procd is killed and started again."""
    job = server.start(f"echo a >&2; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo b; echo c >&2", merge_stderr=True)
    server.kill_daemon("procd")
    server.shell(f"touch {tmp_path}/go")
    assert server.lines(job["id"]) == ["a", "b", "c"]
    assert server.get(f"/get_process?id={job['id']}").json()["status"] == "completed"
