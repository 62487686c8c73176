"""The command beside the server, `nginx-sandbox -- CMD ARG...`: its start, its terminal, its signals, its end."""

import os
import pty
import select
import shutil
import signal
import subprocess
import time

import pytest

from foreground import LAUNCHER, Foreground
from sandbox import DEADLINE, Port, Sandbox, all_pids, alive, proc_file, wait_until


def start(*command, settings=None, options=(), **rest):
    return Foreground([*LAUNCHER, *options, "--", *command], {"SANDBOX_SECRET": "beside", **(settings or {})}, **rest)


def ends(server, status, output=None, complaint=""):
    """Waits for the end by itself, and checks that nothing is left. What the command printed."""
    code, stdout, stderr = server.wait(10 + DEADLINE)
    assert code == status and complaint in (None, stderr), (code, stdout, stderr)
    server.check_nothing_left()
    ready, _, rest = stdout.partition("\n")
    assert ready.startswith("nginx-sandbox: ready on ")
    return rest


@pytest.mark.parametrize("command, status", [
    (["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -KILL $$"], 137), (["sh", "-c", "kill -TERM $$"], 143),
])
def test_its_end_is_the_servers(command, status):
    with start(*command) as server:
        ends(server, status)


def test_it_has_the_servers_output_and_directory(tmp_path):
    with start("sh", "-c", "pwd; echo err >&2; echo \"$1|$2\"", "sh", "a b", "", cwd=tmp_path) as server:
        assert ends(server, 0, complaint="err\n") == f"{tmp_path}\na b|\n"


def test_it_has_the_servers_input():
    with Foreground([shutil.which("sh"), "-c", "echo typed | \"$0\" \"$@\"", *LAUNCHER, "--", "sh", "-c", "cat; exit 3"],
                    {"SANDBOX_SECRET": "beside"}) as server:
        assert ends(server, 3) == "typed\n"


def test_it_finds_the_server_ready_and_sees_nothing_of_its_own():
    """No secret and no setting, whatever else the image has set; the API answers from its first line on."""
    script = "curl -fsS http://127.0.0.1:$1/health && env && cat /proc/$PPID/environ | tr '\\0' '\\n' | grep SECRET; exit 0"
    settings = {"SANDBOX_SECRET": "hidden-from-it", "SANDBOX_MAX_JOBS": "7", "KEPT": "from the image"}
    with Foreground(["sh", "-c", "exec \"$0\" -- sh -c \"$1\" sh $PORT", *LAUNCHER, script], settings) as server:
        output = ends(server, 0)
    lines = output.split("\n")
    assert lines[0].startswith('{"status":"ok"}'), output
    assert "KEPT=from the image" in lines and "hidden-from-it" not in output
    assert not [line for line in lines if line.startswith(("SANDBOX_", "PORT=", "PROXY_PORT="))], output


def test_an_environment_in_an_odd_form(tmp_path):
    """An entry without = is nobody's variable: it neither holds up the start nor reaches the command when it looks like a setting."""
    source, program = tmp_path / "odd.c", tmp_path / "odd"
    source.write_text("""
        #include <stdlib.h>
        #include <unistd.h>
        extern char **environ;
        int main(int argc, char **argv)
        {
            int count = 0;
            while (environ[count]) count++;
            char **odd = calloc(count + 2, sizeof(*odd));
            for (int i = 0; i < count; i++) odd[i + 1] = environ[i];
            odd[0] = "SANDBOX_ODD";
            return argc > 1 ? execve(argv[1], argv + 1, odd) : 1;
        }""")
    subprocess.run([os.environ.get("CC", "cc"), "-o", program, source], check=True)
    with Foreground([program, *LAUNCHER, "--", "env"], {"SANDBOX_SECRET": "beside"}) as server:
        lines = ends(server, 0).splitlines()
    assert not [line for line in lines if line.startswith(("SANDBOX_", "PORT=", "PROXY_PORT="))], lines
    assert [line for line in lines if line.startswith("PATH=")], lines


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes user")
def test_it_runs_as_the_user_of_commands():
    with start("sh", "-c", "id -u; id -g; echo $HOME $USER; grep NoNewPrivs /proc/self/status", settings={"SANDBOX_USER": "nobody"}) as server:
        uid, gid, home, rights = ends(server, 0).splitlines()
    assert uid == "65534" and home == "/nonexistent nobody" and rights.split()[1] == "1"


@pytest.mark.parametrize("command, status", [
    ("no-such-command", 127), ("/no/such/command", 127), ("/etc/passwd", 126), ("/tmp", 126),
])
def test_what_cannot_be_executed_is_named(command, status):
    with start(command) as server:
        code, _, complaint = server.wait(10 + DEADLINE)
        assert code == status and command in complaint and complaint.count("\n") == 1, complaint
        server.check_nothing_left()


def test_a_missing_command_is_refused():
    with start() as server:
        assert server.fails("--").startswith("nginx-sandbox: ")


def test_it_does_not_start_where_the_server_does_not(tmp_path):
    with start("touch", str(tmp_path / "started"), settings={"SANDBOX_MAX_JOBS": "many"}) as server:
        server.fails("SANDBOX_MAX_JOBS")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("number, name", [(signal.SIGTERM, "TERM"), (signal.SIGINT, "INT")])
def test_a_signal_goes_to_it(number, name):
    """The very signal, to it alone, and its code is the server's."""
    script = f"trap 'echo {name}; exit 9' {name}; echo open; while :; do sleep 0.05; done"
    with start("sh", "-c", script) as server:
        wait_until(lambda: "open\n" in server.stdout.text, "the command")
        server.process.send_signal(number)
        assert ends(server, 9, complaint=None) == f"open\n{name}\n"


def test_what_does_not_end_is_killed_after_the_grace():
    """It, and what it leaves; the jobs of the API have the same time."""
    script = "trap 'echo heard' TERM; setsid sh -c 'trap : TERM; while :; do sleep 0.05; done' & echo open; while :; do sleep 0.05; done"
    with start("sh", "-c", script, settings={"SANDBOX_STOP_GRACE": "500ms"}) as server:
        wait_until(lambda: "open\n" in server.stdout.text, "the command")
        server.process.send_signal(signal.SIGTERM)
        assert ends(server, 137, complaint=None) == "open\nheard\n"


@pytest.mark.parametrize("user", [None, pytest.param("54400:54400", marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root changes user"))])
def test_a_server_that_is_killed_leaves_no_command(user):
    """SIGKILL leaves the server no time for a stop: the command ends all the same, and the services do the rest."""
    with start("sh", "-c", "echo open; exec sleep 1000", settings={"SANDBOX_USER": user}) as server:
        wait_until(lambda: "open\n" in server.stdout.text, "the command")
        assert server.end(signal.SIGKILL) == -signal.SIGKILL


def test_its_end_ends_jobs_gently_and_what_it_left(tmp_path):
    os.chmod(tmp_path, 0o777)
    left = f"trap 'echo left >>{tmp_path}/heard; exit' TERM; touch {tmp_path}/ready; while :; do sleep 0.05; done"
    script = f"setsid sh -c \"$LEFT\" & while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 4"
    with start("sh", "-c", script, settings={"LEFT": left}) as server:
        sandbox = Sandbox(server.url, ("127.0.0.1", server.proxy_port), "beside")
        sandbox.start(f"trap 'echo job >>{tmp_path}/heard; exit' TERM; touch {tmp_path}/job; while :; do sleep 0.05; done")
        wait_until(lambda: (tmp_path / "ready").exists() and (tmp_path / "job").exists(), "both")
        (tmp_path / "go").touch()
        ends(server, 4, complaint=None)  # a shell reports a child that was killed
    assert sorted((tmp_path / "heard").read_text().split()) == ["job", "left"]


# ---- a terminal ----


class Terminal:
    """A server on a pseudo-terminal, which is the terminal of its session unless `of_session` is false."""

    def __init__(self, *command, of_session=True, settings=None):
        self.master, slave = pty.openpty()
        arguments = [*LAUNCHER, "--", *command]
        if of_session:
            arguments = ["setsid", "--ctty", *arguments]
        self.text = b""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
        self.ports = Port(), Port()
        environment.update(SANDBOX_SECRET="beside", PORT=str(self.ports[0].number), PROXY_PORT=str(self.ports[1].number), PS1="$ ", **(settings or {}))
        self.process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=not of_session)
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(15)
        if self.master >= 0:
            os.close(self.master)
        for port in self.ports:
            port.free()

    def read_until(self, words, deadline=DEADLINE):
        end = time.monotonic() + deadline
        while words not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.master, 4096)
                except OSError:
                    assert words in self.text, self.text
        before, _, self.text = self.text.partition(words)
        return before

    def type(self, text):
        os.write(self.master, text)


@pytest.mark.parametrize("of_session", [True, False])
def test_the_terminal_is_its_controlling_terminal(of_session):
    with Terminal("sh", "-c", "tty; exec 3<>/dev/tty && echo opened >&3; ps -o pgid=,tpgid= -p $$; echo end", of_session=of_session) as terminal:
        terminal.read_until(b"ready on")
        terminal.read_until(b"/dev/pts/")
        terminal.read_until(b"opened\r\n")
        group, foreground = terminal.read_until(b"end").split()
        assert group == foreground
        assert terminal.process.wait(10 + DEADLINE) == 0


@pytest.mark.parametrize("of_session", [True, False])
def test_a_shell_has_job_control_and_ctrl_c_reaches_its_foreground(of_session):
    """Ctrl-C ends what runs in the shell, neither the shell nor the server; Ctrl-Z stops it, and it can go on."""
    with Terminal("bash", "--norc", "--noprofile", "-i", of_session=of_session) as terminal:
        terminal.read_until(b"$ ")
        terminal.type(b"sleep 86400\n")
        terminal.read_until(b"sleep 86400\r\n")
        child = wait_until(lambda: [pid for pid in all_pids() if proc_file(pid, "cmdline") == b"sleep\x0086400\0" and below(pid, terminal.process.pid)], "sleep")[0]
        terminal.type(b"\x1a")
        terminal.read_until(b"Stopped")
        terminal.type(b"fg\n")
        wait_until(lambda: state(child) == "S", "it to go on")
        terminal.type(b"\x03")
        wait_until(lambda: not alive(child), "Ctrl-C to end it")
        terminal.type(b"echo still-$((40 + 2))\n")
        terminal.read_until(b"still-42")
        terminal.type(b"exit 6\n")
        assert terminal.process.wait(10 + DEADLINE) == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes user")
@pytest.mark.parametrize("setuid", ["0", "1"])
def test_another_users_command_types_nothing(setuid):
    """What it put into the terminal's input would be read by the shell that has started the server, once that has ended."""
    script = "\n".join((
        "import fcntl, os, termios",
        "try:",
        "    fcntl.ioctl(0, termios.TIOCSTI, b'x')",
        "except OSError as error:",
        "    print(os.getuid(), error.strerror)",
        "print(os.get_terminal_size().columns, 'end')"))
    with Terminal("/usr/bin/python3", "-c", script, settings={"SANDBOX_USER": "54400:54400", "SANDBOX_ALLOW_SETUID": setuid}) as terminal:
        assert terminal.read_until(b"end").count(b"54400 Operation not permitted") == 1


def test_ctrl_c_reaches_a_command_that_is_no_shell_once():
    with Terminal("sh", "-c", "trap 'echo int; n=$((n+1))' INT; echo open; while [ \"$n\" != 1 ]; do sleep 0.05; done; exit 8") as terminal:
        terminal.read_until(b"open\r\n")
        terminal.type(b"\x03")
        terminal.read_until(b"int\r\n")
        assert terminal.process.wait(10 + DEADLINE) == 8


def test_a_terminal_that_goes_ends_it():
    with Terminal("sh", "-c", "trap 'exit 5' HUP; echo open; while :; do sleep 0.05; done") as terminal:
        terminal.read_until(b"open")
        os.close(terminal.master)
        terminal.master = -1
        assert terminal.process.wait(10 + DEADLINE) == 5


def state(pid):
    return proc_file(pid, "stat").rpartition(b")")[2].split()[:1][0].decode()


def below(pid, top):
    while pid > 1 and pid != top:
        fields = proc_file(pid, "stat").rpartition(b")")[2].split()
        pid = int(fields[1]) if fields else 0
    return pid == top


# ---- process 1 ----


def may_unshare():
    return shutil.which("unshare") and subprocess.run(["unshare", "-pf", "--mount-proc", "true"], stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="no PID namespaces here")
@pytest.mark.parametrize("end", ["command", "signal"])
def test_as_process_1(end, tmp_path):
    """As in a container: the signal comes from outside, to process 1, which has no default actions."""
    os.chmod(tmp_path, 0o777)
    script = f"echo open-$PPID; trap 'exit 9' TERM; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; exit 4"
    with Foreground(["unshare", "-pf", "--mount-proc", "--kill-child", *LAUNCHER, "--", "sh", "-c", script], {"SANDBOX_SECRET": "beside"}) as server:
        wait_until(lambda: "open-1\n" in server.stdout.text, "the command")
        if end == "command":
            (tmp_path / "go").touch()
        else:
            first, = [pid for pid in server.tree() if proc_file(pid, "cmdline").startswith(b"nginx-sandbox\0supervise\0")]
            os.kill(first, signal.SIGTERM)
        assert server.wait(10 + DEADLINE)[0] == (4 if end == "command" else 9)
        server.check_nothing_left()
