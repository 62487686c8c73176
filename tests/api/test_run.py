"""POST /run: a command's output, its end, and what it inherits."""

import concurrent.futures
import json
import os
import random

import pytest

from sandbox import BIG_TIMEOUT, TEST_USER, alive, home, in_threads, proc_stat, split_facts, wait_until


def test_the_answer(sandbox):
    answer = sandbox.post("/run", cmd="echo 'Hello World'")
    assert answer.status_code == 200
    assert split_facts(answer.json())[0] == {"stdout": "Hello World\n", "stderr": "", "code": 0}


def test_both_streams(sandbox):
    assert sandbox.run("echo out; echo err >&2") == {"stdout": "out\n", "stderr": "err\n", "code": 0}


@pytest.mark.parametrize("code", [1, 2, 42, 126, 127, 128, 255])
def test_exit_codes(sandbox, code):
    answer = sandbox.run(f"echo x; exit {code}")
    assert answer == {"stdout": "x\n", "stderr": "", "code": code, "error": "Non-zero exit code"}


def test_a_command_that_is_not_there(sandbox):
    answer = sandbox.run("no-such-command-anywhere")
    assert answer["code"] == 127 and "not found" in answer["stderr"] and answer["error"] == "Non-zero exit code"


@pytest.mark.parametrize("name", ["KILL", "TERM", "SEGV", "PIPE", "INT", "HUP", "USR1"])
def test_signals(sandbox, name):
    answer = sandbox.run(f"echo before; kill -{name} $$")
    assert (answer["stdout"], answer["code"], answer["error"]) == ("before\n", -1, "Non-zero exit code")
    assert answer["signal"] in (name, f"SIG{name}")


def test_no_signal_field_without_a_signal(sandbox):
    assert "signal" not in sandbox.run("exit 137")


def test_shell_syntax(sandbox):
    assert sandbox.shell("a=1; for i in 1 2 3; do echo $((a + i)); done | tac") == "4\n3\n2\n"
    assert sandbox.shell("echo \"a'b\" 'c\"d' \\\n e # comment") == "a'b c\"d e\n"
    assert sandbox.shell("cat <<END\nhere ü\nEND") == "here ü\n"


# ---- cwd ----


def test_cwd(sandbox, workdir):
    assert sandbox.shell("pwd", cwd="/usr/bin") == "/usr/bin\n"
    assert sandbox.shell("pwd", cwd=workdir) == f"{workdir}\n"
    assert sandbox.shell("cat /proc/self/cwd/name", cwd=sandbox.shell(
        "mkdir \"$DIR\" && echo here >\"$DIR/name\" && printf %s \"$DIR\"", env={"DIR": f"{workdir}/sp ace \"ü\" $x"})) == "here\n"


@pytest.mark.parametrize("path", ["/run", "/start_process"])
def test_cwd_that_is_no_directory(sandbox, workdir, path):
    sandbox.shell(f"touch {workdir}/file")
    for cwd in ("/no/such/directory", f"{workdir}/file", f"{workdir}/ü", "no-such-relative", "x" * 5000):
        answer = sandbox.post(path, cmd=f"touch {workdir}/ran", cwd=cwd)
        assert answer.status_code == 400
        assert f"Invalid working directory: {cwd}" in answer.json()["error"]
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": ["file"]}


def test_the_default_cwd_is_the_same_each_time(sandbox):
    first = sandbox.shell("pwd")
    sandbox.shell("cd /tmp")
    assert sandbox.shell("pwd") == first


@pytest.mark.host
def test_the_default_cwd_is_the_servers(sandbox):
    directory = home(TEST_USER) if TEST_USER else os.getcwd()
    assert sandbox.shell("pwd -P") == os.path.realpath(directory) + "\n"
    assert sandbox.shell("pwd -P", cwd="..") == os.path.realpath(os.path.join(directory, "..")) + "\n"


# ---- environment ----


def test_env(sandbox):
    environment = {"VAR_NAME": "value", "EMPTY": "", "QUOTES": "a'b\"c", "LINES": "1\n2\n", "EQUALS": "a=b=", "ÜMLAUT": "ö",
                   "DOLLAR": "$HOME `id` \\", "lower.dotted-name": "x"}
    shown = sandbox.shell("cat /proc/$$/environ", env=environment).split("\0")  # the shell itself passes on only valid names
    for name, value in environment.items():
        assert f"{name}={value}" in shown


def test_env_adds_and_overrides(sandbox):
    own = sandbox.shell("echo $PATH").strip()
    assert own
    assert sandbox.shell("echo $PATH; echo $X", env={"X": "1"}) == f"{own}\n1\n"
    assert sandbox.shell("/bin/echo $PATH", env={"PATH": "/nowhere"}) == "/nowhere\n"
    assert sandbox.shell("echo $X-") == "-\n"


def test_a_variable_given_twice(sandbox):
    """The last one counts, however it is spelled: of a name that the server has itself, too."""
    body = r'{"cmd": "echo $A $LANG; env | grep -c ^A=", "env": {"A": "1", "LANG": "one", "\u0041": "2", "B": "", "A": "3", "LANG": "two"}}'
    assert sandbox.call("POST", "/run", body.encode()).json()["stdout"] == "3 two\n1\n"


def test_many_variables(sandbox):
    environment = {f"VARIABLE_{number}": str(number) * 10 for number in range(1000)}
    shown = dict(line.split("=", 1) for line in sandbox.shell("env", env=environment).splitlines() if "=" in line)
    assert all(shown[name] == value for name, value in environment.items())


@pytest.mark.parametrize("environment", [
    {"LONG": "x" * 200_000},
    {"LONG" * 50_000: "x"},
    {f"LONG_{number}": "x" * 120_000 for number in range(30)},
], ids=["a value", "a name", "the sum"])
@pytest.mark.parametrize("path", ["/run", "/start_process"])
def test_an_environment_that_the_kernel_refuses(sandbox, path, environment):
    answer = sandbox.post(path, cmd="true", env=environment)
    assert answer.status_code == 400
    assert "too long" in answer.json()["error"].lower() or "too large" in answer.json()["error"].lower()
    assert sandbox.shell("echo still") == "still\n"


@pytest.mark.parametrize("size", [130_000, 131_072, 200_000, 3_000_000])
def test_a_command_longer_than_one_argument_may_be(sandbox, size):
    padding = "x" * size
    assert sandbox.run(f": {padding}; echo $#; echo \"$0\"; exit 7")["code"] == 7
    assert sandbox.shell(f"printf %s '{padding}' | wc -c").strip() == str(size)
    assert sandbox.shell(f"# {padding}\ncat\necho end") == "end\n"  # stdin is as empty as ever
    assert sandbox.shell(f"# {padding}\necho $0") == sandbox.shell("echo $0")


# ---- what a command starts with ----


def test_stdin_is_empty(sandbox):
    assert sandbox.run("cat; echo end") == {"stdout": "end\n", "stderr": "", "code": 0}


def test_no_foreign_descriptors(sandbox):
    script = "import os; print([name for name in sorted(os.listdir('/proc/self/fd')) if os.path.exists('/proc/self/fd/' + name)])"
    answers = in_threads(10, lambda _: sandbox.shell(f'exec python3 -c "{script}"'))
    assert set(answers) == {"['0', '1', '2']\n"}


def test_signal_state_is_the_default(sandbox):
    status = dict(line.split(":\t") for line in sandbox.shell("cat /proc/self/status").splitlines() if ":\t" in line)
    assert int(status["SigBlk"], 16) == 0
    assert int(status["SigIgn"], 16) == 0
    assert sandbox.run("yes | head -n 1") == {"stdout": "y\n", "stderr": "", "code": 0}


@pytest.mark.host
def test_descriptor_limits_are_as_the_server_was_given_them(make_server):
    server = make_server(prefix=["sh", "-c", 'ulimit -Sn 512; umask 027; exec "$@"', "sh"])
    assert server.shell("ulimit -Sn; umask") == "512\n0027\n"
    identifier = server.start("ulimit -Sn")["id"]
    assert server.lines(identifier) == ["512"]


def test_nothing_of_the_servers_own_is_inherited(sandbox):
    """A command is as nice as who started the server, and has its umask."""
    nice = os.getpriority(os.PRIO_PROCESS, sandbox.launch.pid) if sandbox.local else 0
    assert sandbox.shell("nice") == f"{nice}\n"


@pytest.mark.host
def test_a_server_that_was_started_nice(make_server):
    server = make_server(prefix=["nice", "-n", "5", "sh", "-c", 'umask 037; exec "$@"', "sh"])
    nice = os.getpriority(os.PRIO_PROCESS, server.launch.pid)
    assert server.shell("nice; umask") == f"{nice}\n0037\n"


# ---- much output ----


INTERLEAVINGS = {
    "stderr first": "head -c 307200 /dev/zero | tr '\\0' e >&2; head -c 307200 /dev/zero | tr '\\0' o",
    "stdout first": "head -c 307200 /dev/zero | tr '\\0' o; head -c 307200 /dev/zero | tr '\\0' e >&2",
    "at once": "head -c 307200 /dev/zero | tr '\\0' e >&2 & head -c 307200 /dev/zero | tr '\\0' o; wait",
    "half a line of stdout waits": "printf o; head -c 307200 /dev/zero | tr '\\0' e >&2; head -c 307199 /dev/zero | tr '\\0' o",
    "half a line of stderr waits": "printf e >&2; head -c 307200 /dev/zero | tr '\\0' o; head -c 307199 /dev/zero | tr '\\0' e >&2",
    "in pieces": "for i in 1 2 3 4 5 6; do head -c 51200 /dev/zero | tr '\\0' o; head -c 51200 /dev/zero | tr '\\0' e >&2; done",
}


@pytest.mark.parametrize("kind", INTERLEAVINGS)
def test_300_kilobytes_on_each(sandbox, kind):
    answer = sandbox.run(INTERLEAVINGS[kind])
    assert answer == {"stdout": "o" * 307200, "stderr": "e" * 307200, "code": 0}


def test_a_megabyte_of_stderr_alone(sandbox):
    assert sandbox.run("head -c 1048576 /dev/zero | tr '\\0' e >&2") == {"stdout": "", "stderr": "e" * 1048576, "code": 0}


@pytest.mark.slow
def test_100_megabytes(sandbox):
    answer = sandbox.run("yes 0123456789abcde | head -c 104857600; echo done >&2", timeout=BIG_TIMEOUT)
    assert len(answer["stdout"]) == 104857600 and answer["stdout"] == "0123456789abcde\n" * 6553600
    assert (answer["stderr"], answer["code"]) == ("done\n", 0)


@pytest.mark.slow
def test_30_megabytes_on_each(sandbox):
    answer = sandbox.run("yes out | head -c 30000000 & yes err | head -c 30000000 >&2; wait", timeout=BIG_TIMEOUT)
    assert answer == {"stdout": "out\n" * 7500000, "stderr": "err\n" * 7500000, "code": 0}


# ---- bytes ----


def test_text_is_exact(sandbox):
    text = "".join(map(chr, [*range(1, 0xD800, 97), *range(0xE000, 0x110000, 997)])) + '"\\/\b\f\n\r\t\x7f\u2028'
    assert sandbox.shell("printf %s \"$TEXT\"; printf %s \"$TEXT\" >&2; printf '\\000'", env={"TEXT": text}) == text + "\0"


def test_nuls(sandbox):
    assert sandbox.run("printf 'a\\000b\\000'; printf '\\000' >&2") == {"stdout": "a\0b\0", "stderr": "\0", "code": 0}
    assert sandbox.shell("head -c 100000 /dev/zero") == "\0" * 100000


@pytest.mark.parametrize("octal, text", [
    ("\\377", "\ufffd"), ("a\\200b", "a\ufffdb"), ("\\303\\050", "\ufffd("), ("\\342\\202\\254", "€"),
    ("\\360\\237\\230\\200", "😀"),
])
def test_bytes_that_are_no_utf8(sandbox, octal, text):
    answer = sandbox.post("/run", cmd=f"printf '{octal}'; printf '{octal}' >&2")
    answer.content.decode("utf-8", "strict")
    assert split_facts(answer.json())[0] == {"stdout": text, "stderr": text, "code": 0}


def test_random_bytes_give_valid_json(sandbox):
    answer = sandbox.post("/run", cmd="head -c 300000 /dev/urandom; head -c 300000 /dev/urandom >&2")
    json.loads(answer.content.decode("utf-8", "strict"))


def test_sequences_across_reads(sandbox):
    """Three-byte characters at every offset of the buffers they go through."""
    for shift in range(3):
        count = 100_000
        script = f"import sys; sys.stdout.buffer.write(b'x' * {shift} + '€'.encode() * {count})"
        assert sandbox.run(f"/usr/bin/python3 -c \"{script}\"")["stdout"] == "x" * shift + "€" * count


# ---- the end of a command ----


def test_nothing_written_before_the_exit_is_lost(sandbox):
    def once(_):
        assert sandbox.run("echo a; echo b >&2; printf tail") == {"stdout": "a\ntail", "stderr": "b\n", "code": 0}

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(once, range(500)))


@pytest.mark.parametrize("holder", ["{} &", "setsid {} &", "({} &) &", "trap '' TERM HUP; {} &", "{} 2>/dev/null &", "{} >/dev/null &"])
def test_the_shells_exit_is_the_end(sandbox, marker, holder):
    """...though a process it left behind still holds the pipes; and that process lives on."""
    answer = sandbox.run(f"echo out; echo err >&2; {holder.format(marker.sleep)} exit 3")
    assert answer == {"stdout": "out\n", "stderr": "err\n", "code": 3, "error": "Non-zero exit code"}
    assert marker.sleeping(sandbox)


def test_an_endless_writer_left_behind(sandbox, marker):
    writer = f"sh -c 'while :; do echo noise; done # {marker.text}'"
    answer = sandbox.run(f"echo first; {writer} & {writer} >&2 & exit 0")
    assert answer["code"] == 0 and answer["stdout"].startswith("first\n")
    assert len(marker.pids(sandbox)) >= 2


def test_busy_writers_on_both_pipes_left_behind(sandbox, marker):
    """Each pipe is filled faster than it is read: what it holds at the end is all that is taken."""
    writer = f"cat /dev/zero {marker.text}"
    answer = sandbox.run(f"{writer} & {writer} & {writer} >&2 & {writer} >&2 & exit 0")
    assert answer["code"] == 0 and len(marker.pids(sandbox)) >= 4


def test_what_is_left_running_can_go_on_writing(sandbox, marker, workdir):
    """Its output is discarded: it neither dies of SIGPIPE nor waits for ever on a full pipe."""
    ticker = f"sh -c 'while :; do head -c 8192 /dev/zero; echo x >&2; echo >>{workdir}/ticks; done # {marker.text}'"
    sandbox.run(f"{ticker} &")
    first = wait_until(lambda: ticks(sandbox, workdir), "a tick")
    wait_until(lambda: ticks(sandbox, workdir) > first + 100, "a hundred more ticks")
    assert marker.pids(sandbox)


def ticks(sandbox, workdir):
    return int(sandbox.shell(f"wc -l <{workdir}/ticks || echo 0"))


def test_what_is_left_running_survives_the_connection(sandbox, marker):
    """The lease ends with the command, not with the client."""
    with sandbox.raw() as raw:
        body = json.dumps({"cmd": f"{marker.sleep} & echo done"}).encode()
        request = b"POST /run HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s"
        status, _, _ = raw.exchange(request % (sandbox.authorization, len(body), body), "POST")
    assert status == 200
    pids = marker.sleeping(sandbox)
    for _ in range(20):
        sandbox.shell("true")
    assert marker.pids(sandbox) == pids


@pytest.mark.host
def test_zombies_are_reaped(sandbox):
    for _ in range(10):
        sandbox.run("(sleep 0.01 &) & setsid sleep 0.02 & exit 0")

    def zombies():
        return [pid for pid in sandbox.launch.tree() if (stat := proc_stat(pid)) and stat[0] == "Z"]

    wait_until(lambda: not zombies(), "no zombie left")


@pytest.mark.host
def test_leftovers_of_many_runs_have_each_a_reaper(sandbox, make_marker):
    markers = [make_marker() for _ in range(12)]
    for marker in markers:
        sandbox.run(f"{marker.sleep} &")
    assert all(marker.sleeping(sandbox) for marker in markers)
    for marker in markers:
        for pid in marker.pids(sandbox):
            os.kill(pid, 9)
    wait_until(lambda: not any(alive(pid) for marker in markers for pid in marker.pids(sandbox)), "their end")


# ---- at once ----


def test_concurrent_runs_do_not_mix(sandbox):
    def one(number):
        words = random.Random(number).choices("abcdef", k=5000)
        text = f"{number} " + "".join(words)
        answer = sandbox.run("printf %s \"$TEXT\"; printf %s \"$TEXT\" >&2; exit $CODE",
                             env={"TEXT": text, "CODE": str(number)}, timeout=BIG_TIMEOUT)
        assert (answer["stdout"], answer["stderr"], answer["code"]) == (text, text, number)

    in_threads(30, one)


def test_a_long_command_holds_up_nobody(sandbox, marker, workdir):
    with sandbox.stream(f"{marker.sleep}"):
        marker.sleeping(sandbox)
        for number in range(20):
            assert sandbox.shell(f"echo {number}") == f"{number}\n"
