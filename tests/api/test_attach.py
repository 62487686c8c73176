"""/attach: terminals over WebSockets, with programs that people use there, through the deaths of daemons."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import threading

import pytest

from sandbox import BIG_TIMEOUT, TIMEOUT, descriptors, freeze, in_threads, make_directory, proc_file, proc_stat, wait_until
from terminals import Terminal, foreground
from web_socket import BINARY, TEXT, Refused, WebSocket, frame

pytestmark = pytest.mark.host
SHELL = {"PS1": "> "}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


class Attached(WebSocket):
    """A client that keeps what it is sent: `data`, the bytes; `said`, the texts. It knows at which offset it is."""

    def __init__(self, sandbox, identifier, query="", **options):
        super().__init__(sandbox, f"/attach?id={identifier}{query}", timeout=options.pop("timeout", TIMEOUT), **options)
        self.data, self.said = bytearray(), []
        self.ready = self.event()
        assert self.ready["type"] == "ready"
        self.offset = self.ready["offset"]

    def step(self):
        """Takes one message; False at the end."""
        message = self.read()
        if message is None:
            return False
        opcode, payload = message
        if opcode == BINARY:
            self.data += payload
            self.offset += len(payload)
        elif opcode == TEXT:
            self.said.append(json.loads(payload))
            if self.said[-1]["type"] == "gap":
                self.offset = self.said[-1]["offset"]
        return True

    def shows(self, text, count=1):
        while self.data.count(text) < count:
            assert self.step(), f"{text!r} is not in {bytes(self.data[-500:])!r}, {self.said}"

    def hears(self, kind):
        """The first text of this type, which may have come already."""
        while not (found := [said for said in self.said if said["type"] == kind]):
            assert self.step(), f"no {kind} in {self.said}"
        return found[0]

    def finish(self):
        """What the exit says; the close frame follows it."""
        while self.step():
            pass
        assert self.closed == (4000, "The process has ended"), (self.closed, self.said)
        assert self.said[-1]["type"] == "exit"
        return self.said[-1]


def refusal(sandbox, query, **options):
    with pytest.raises(Refused) as refused:
        WebSocket(sandbox, f"/attach{query}", **options)
    return refused.value.status, refused.value.json()


def bash(sandbox, **fields):
    return Terminal(sandbox, "exec bash --norc --noprofile -i", env={**SHELL, **fields.pop("env", {})}, **fields)


# ---- what a client sees ----


def test_a_shell(sandbox):
    terminal = bash(sandbox, pty={"cols": 100, "rows": 30})
    with Attached(sandbox, terminal.id) as client:
        assert client.protocol == "nginx-sandbox.v1"
        assert (client.ready["cols"], client.ready["rows"]) == (100, 30)
        client.shows(b"> ")
        client.write(b"echo $((6 * 7))\r")
        client.shows(b"\r42\r\n")
        client.write(b"exit 3\r")
        assert client.finish() == {"type": "exit", "status": "failed", "exit_code": 3, "signal": None, "reason": "exit"}
        assert bytes(client.data) == terminal.output() and client.ready["offset"] == 0


def test_an_ended_terminal_is_read_to_its_end(sandbox):
    terminal = Terminal(sandbox, "seq 1000; kill -TERM $$")
    terminal.end()
    with Attached(sandbox, terminal.id, "&offset=0") as client:
        exit = client.finish()
        assert (exit["signal"], exit["reason"], exit["exit_code"]) == ("SIGTERM", "signal", -1)
        assert bytes(client.data) == b"".join(b"%d\r\n" % number for number in range(1, 1001))
        assert [said["type"] for said in client.said] == ["live", "exit"]
    with Attached(sandbox, terminal.id) as client:
        client.write(b"x")
        client.finish()


@pytest.mark.parametrize("offset", [0, 1, 1000, 4892, 4893])
def test_resume(sandbox, offset):
    terminal = Terminal(sandbox, "seq 1000; sleep 60")
    terminal.shows(b"\n1000\r\n")
    whole = terminal.output()
    assert len(whole) == 4893
    with Attached(sandbox, terminal.id, f"&offset={offset}") as client:
        assert (client.ready["offset"], client.ready["live_offset"]) == (offset, 4893)
        assert client.hears("live") == {"type": "live", "offset": 4893}
        assert bytes(client.data) == whole[offset:] and client.offset == 4893


def test_without_an_offset_the_end_is_replayed(sandbox):
    terminal = Terminal(sandbox, "seq 100000; sleep 60")
    terminal.shows(b"\n100000\r\n")
    whole = terminal.output()
    with Attached(sandbox, terminal.id) as client:
        client.hears("live")
        assert client.ready["offset"] == len(whole) - 65536 and bytes(client.data) == whole[-65536:]


def test_live_comes_after_the_replay(sandbox):
    """So a client drops what its terminal answers to queries in it (here: the device attributes)."""
    terminal = bash(sandbox)
    terminal.types("printf '\\033[c'; echo don''e\r")
    terminal.shows(b"done")
    with Attached(sandbox, terminal.id) as client:
        while not client.said:
            client.step()
        assert client.said == [{"type": "live", "offset": client.ready["live_offset"]}] and b"\x1b[c" in client.data


@pytest.mark.parametrize("query, status, code", [
    ("", 400, "invalid_request"), ("?id=", 400, "invalid_request"), ("?id=../x", 404, "not_found"), (f"?id={UNKNOWN}-and-more", 404, "not_found"), ("?id=%22", 404, "not_found"), (f"?id={UNKNOWN}", 404, "not_found"),
    (f"?id={UNKNOWN}&offset=x", 400, "invalid_request"), (f"?id={UNKNOWN}&offset=-1", 400, "invalid_request"), (f"?id={UNKNOWN}&mode=type", 400, "invalid_request"),
])
def test_what_is_refused(sandbox, query, status, code):
    answer = refusal(sandbox, query)
    assert (answer[0], answer[1]["error_code"]) == (status, code)


def test_an_offset_behind_the_end(sandbox):
    terminal = Terminal(sandbox, "printf x; sleep 60")
    terminal.shows(b"x")
    assert refusal(sandbox, f"?id={terminal.id}&offset=2")[0] == 400


def test_a_job_without_a_terminal(sandbox):
    status, error = refusal(sandbox, f"?id={sandbox.start('sleep 60')['id']}")
    assert (status, error["error_code"]) == (400, "unsupported") and "/process_logs_streaming" in error["error"]


def test_needs_the_token(sandbox):
    terminal = Terminal(sandbox, "sleep 60")
    assert refusal(sandbox, f"?id={terminal.id}", headers={"Authorization": None})[0] == 401
    assert refusal(sandbox, f"?id={terminal.id}", headers={"Origin": "https://other.example"})[0] == 403
    assert sandbox.get(f"/attach?id={terminal.id}").status_code == 426


def test_too_many(make_server):
    server = make_server({"SANDBOX_MAX_ATTACHED": "2"})
    terminal = Terminal(server, "sleep 60")
    with Attached(server, terminal.id), Attached(server, terminal.id) as second:
        status, error = refusal(server, f"?id={terminal.id}")
        assert (status, error["error_code"]) == (429, "too_many") and "SANDBOX_MAX_ATTACHED" in error["error"]
        second.close()
        with Attached(server, terminal.id):
            pass


# ---- several ----


def test_several_see_the_same(sandbox):
    terminal = bash(sandbox)
    clients = [Attached(sandbox, terminal.id, "&offset=0") for _ in range(20)]
    clients[0].write(b"for i in $(seq 500); do echo line $i; done; echo the e''nd\r")
    wait_until(lambda: terminal.output().count(b"> ") == 2 and b"the end" in terminal.output(), "the prompt")
    whole = terminal.output()
    for client in clients:
        client.shows(whole[-20:])
    assert {bytes(client.data) for client in clients} == {whole}
    for client in clients:
        client.socket.close()


def test_a_viewer_does_not_type(sandbox):
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id, "&mode=view") as viewer, Attached(sandbox, terminal.id) as client:
        viewer.write(b"echo forbidden\r")
        for order in ({"type": "eof"}, {"type": "signal", "signal": "KILL"}, {"type": "resize", "cols": 10, "rows": 10}):
            viewer.order(**order)
        wait_for = []
        while len(wait_for) < 3:
            viewer.step()
            wait_for = [said for said in viewer.said if said["type"] == "refused"]
        assert {said["error_code"] for said in wait_for} == {"forbidden"}
        client.write(b"echo allo''wed; stty size\r")
        viewer.shows(b"\rallowed\r\n24 80\r\n")
        assert b"forbidden" not in viewer.data


def test_who_does_not_read_harms_nobody(make_server):
    """It gets the newest when it reads again, and is told what it has missed."""
    server = make_server({"SANDBOX_LOG_MAX": "1m"})
    terminal = Terminal(server, "read line; i=0; while [ $i -lt 60 ]; do head -c 100000 /dev/zero | tr '\\0' x; i=$((i+1)); done; echo; echo the end; read line")
    with Attached(server, terminal.id) as slow, Attached(server, terminal.id) as quick:
        quick.write(b"\r")
        quick.shows(b"the end")
        assert "gap" not in [said["type"] for said in quick.said] or quick.offset > 6_000_000
        slow.shows(b"the end")
        gap = slow.hears("gap")
        assert gap["missed_bytes"] > 0 and slow.offset == quick.offset
        quick.write(b"\r")
        quick.finish()
        slow.finish()


@pytest.mark.parametrize("query", ["&mode=view", ""])
def test_who_does_not_read_what_is_refused(server, query):
    """It is held back: no more waits for it than is bounded, it harms nobody, and it gets each refusal when it reads."""
    count = 100_000
    terminal = bash(server)
    with Attached(server, terminal.id, query) as silent, Attached(server, terminal.id) as other:
        sender = threading.Thread(target=silent.socket.sendall, args=(frame(TEXT, b"{}") * count,))
        silent.socket.settimeout(BIG_TIMEOUT)
        sender.start()
        for number in range(5):
            other.write(b"echo $((6 * %d))\r" % number)
            other.shows(b"\r%d\r\n" % (6 * number))
        refused = 0
        while refused < count:
            silent.step()
            refused += sum(said["type"] == "refused" for said in silent.said)
            silent.said.clear()
        sender.join()
        other.write(b"echo st''ill\r")
        other.shows(b"still")
    peak = int(proc_file(server.daemon("terminal"), "status").decode().split("VmHWM:")[1].split()[0])
    assert peak < 16384, f"{peak} KiB"


def test_the_sizes_that_others_set(server):
    """A client that reads nothing is told the newest alone."""
    terminal = bash(server, pty={"cols": 100, "rows": 30})
    with Attached(server, terminal.id) as slow, Attached(server, terminal.id) as quick:
        for number in range(1, 201):
            quick.order(type="resize", cols=number, rows=24)
        quick.write(b"echo; stty size\r")
        while not slow.said or slow.said[-1].get("cols") != 200:
            slow.step()


# ---- size ----


def test_the_size_is_that_of_who_types(sandbox):
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id) as one, Attached(sandbox, terminal.id) as other:
        one.order(type="resize", cols=120, rows=40)
        assert one.hears("resize") == {"type": "resize", "cols": 120, "rows": 40} and other.hears("resize")["cols"] == 120
        one.write(b"stty size\r")
        one.shows(b"40 120\r\n")
        other.order(type="resize", cols=90, rows=20)  # has not typed
        other.write(b"stty size\r")
        one.shows(b"20 90\r\n")
        one.said.clear()
        one.write(b"echo; stty size\r")
        other.shows(b"40 120\r\n", 2)
        assert one.hears("resize")["cols"] == 120 or one.said


def test_256_resizes(sandbox):
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id) as client:
        for number in range(256):
            client.order(type="resize", cols=80 + number, rows=24)
        client.write(b"stty size\r")
        client.shows(b"24 335\r\n")


def test_orders_for_a_runner_that_takes_none(sandbox):
    """They wait: the newest size alone, and each signal. Nobody loses the terminal by it."""
    terminal = bash(sandbox)
    runner = proc_stat(terminal.pid)[1]
    with Attached(sandbox, terminal.id) as client, Attached(sandbox, terminal.id) as other:
        client.shows(b"> ")
        freeze(runner)
        try:
            for number in range(1, 1001):
                client.order(type="resize", cols=number, rows=24)
            client.order(type="wrong")  # which is answered after all before it
            assert client.hears("refused")["error_code"] == "invalid_request"
            for _ in range(1000):
                client.order(type="signal", signal="WINCH")
            other.write(b"echo oth''er\r")
            client.write(b"stty size\r")
        finally:
            os.kill(runner, signal.SIGCONT)
        client.shows(b"24 1000\r\n")
        client.shows(b"\rother\r\n")
        client.write(b"exit\r")
        client.finish()
        assert [said["type"] for said in client.said].count("refused") == 1 and not [said for said in other.said if said["type"] == "refused"]


def test_a_runner_that_hangs_up(sandbox):
    """As on the oldest of many: it is sought again, with what waits for it."""
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id) as client, contextlib.ExitStack() as stack:
        client.shows(b"> ")
        for number in range(5):
            peers = [stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) for _ in range(9)]
            for peer in peers:
                peer.connect(str(terminal.directory / "runner.sock"))  # waits while the backlog is full, as it would not with a timeout
                peer.settimeout(TIMEOUT)
            assert peers[0].recv(1) == b""  # so those before it have gone
            client.order(type="resize", cols=100 + number, rows=24)
            client.write(b"stty size\r")
            client.shows(b"24 %d\r\n" % (100 + number))
        client.write(b"exit\r")
        client.finish()
        assert "refused" not in [said["type"] for said in client.said]


def test_many_come_at_once_after_a_silence_of_procd(server):
    """Their questions become one, so that the runner keeps its connections."""
    terminal = bash(server)
    procd, runner = server.daemon("procd"), proc_stat(terminal.pid)[1]
    freeze(procd)
    try:
        coming = threading.Thread(target=lambda: clients.extend(in_threads(12, lambda _: Attached(server, terminal.id))))
        clients = []
        coming.start()
        wait_until(lambda: sum("socket" in link for link in descriptors(server.daemon("terminal"))) >= 14, "all to ask")
    finally:
        os.kill(procd, signal.SIGCONT)
    coming.join()
    assert sum("socket" in link for link in descriptors(runner)) < 8
    for number, client in enumerate(clients):
        client.write(b"echo $((%d * 7))\r" % number)
        client.shows(b"\r%d\r\n" % (number * 7))
        client.socket.close()


@pytest.mark.parametrize("order", [{"type": "resize"}, {"type": "resize", "cols": 0, "rows": 1}, {"type": "resize", "cols": 65536, "rows": 1}, {"type": "resize", "cols": "8", "rows": 1},
                                   {"type": "signal"}, {"type": "signal", "signal": "NONE"}, {"type": "other"}, {}])
def test_wrong_orders(sandbox, order):
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id) as client:
        client.order(**order)
        assert client.hears("refused")["error_code"] == "invalid_request"
        client.write(b"echo o''n\r")
        client.shows(b"\ron\r\n")


# ---- input ----


def test_control_c_z_and_fg(sandbox):
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"> ")
        client.write(b"sh -c 'echo run''ning; exec sleep 1000'\r")  # which has a shell's signals no more
        client.shows(b"running")
        client.write(b"\x1a")
        client.shows(b"Stopped")
        wait_until(lambda: foreground(terminal.pid) == terminal.pid, "the shell")
        client.write(b"fg\r")
        wait_until(lambda: foreground(terminal.pid) != terminal.pid, "the job again")
        client.write(b"\x03")
        wait_until(lambda: foreground(terminal.pid) == terminal.pid, "the shell again")
        client.write(b"echo $?\r")
        client.shows(b"\r130\r\n")


def test_signals_and_the_end_of_input(sandbox):
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"> ")
        client.write(b"sh -c 'echo run''ning; exec sleep 1000'\r")  # which has a shell's signals no more
        client.shows(b"running")
        client.order(type="signal", signal="INT")
        wait_until(lambda: foreground(terminal.pid) == terminal.pid, "the shell")
        client.order(type="eof")
        assert client.finish()["reason"] == "exit"
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id) as client:
        client.order(type="signal", signal="SIGKILL")
        exit = client.finish()
        assert (exit["signal"], exit["status"]) == ("SIGKILL", "killed")


def test_a_large_paste_in_raw_mode(sandbox, tmp_path):
    os.chmod(tmp_path, 0o777)
    data = b"".join(b"%07d\n" % number for number in range(131072))
    terminal = Terminal(sandbox, f"stty raw -echo; echo ready; head -c {len(data)} | sha256sum")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"ready")
        client.write(data)
        client.shows(hashlib.sha256(data).hexdigest().encode())
        client.finish()


def test_input_is_held_back(sandbox):
    """A program that reads nothing holds its client back; nothing of it is lost."""
    data = b"x" * (8 << 20)
    terminal = Terminal(sandbox, f"stty raw -echo; echo ready; read -r go </dev/null; sleep 2; head -c {len(data)} | wc -c")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"ready")
        client.write(data)
        client.shows(b"%d" % len(data))


def test_a_paste_that_would_be_cut(sandbox):
    """In canonical mode: it is refused as a whole, with the reason, and the terminal goes on."""
    terminal = Terminal(sandbox, "stty -echo; echo ready; read line; echo got ${#line}")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"ready")
        client.write(b"x" * 1_000_000 + b"\r")
        refused = client.hears("refused")
        assert refused["error_code"] == "too_large" and refused["written"] == 0
        client.write(b"short\r")
        client.shows(b"got 5")


@pytest.mark.parametrize("whole", [True, False])
def test_lines_before_one_that_would_be_cut(sandbox, whole):
    """What was typed of the message ends where a line does, wherever it was cut on its way."""
    lines = b"".join(b"%07d\r" % number for number in range(20_000))  # more than the terminal holds, or goes in one piece
    terminal = Terminal(sandbox, "stty -echo; echo ready; while read -r line && [ \"$line\" != end ]; do [ ${#line} = 7 ] || echo cut; n=$((n+1)); done; echo got $n")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"ready")
        message = lines + b"x" * 5000 + b"\r" + lines
        if whole:
            client.write(message)
        else:
            size = 3001
            for begin in range(0, len(message), size):
                client.send(BINARY if begin == 0 else 0, message[begin:begin + size], final=begin + size >= len(message))
        refused = client.hears("refused")
        assert refused["error_code"] == "too_large" and refused["written"] % 8 == 0 and refused["written"] <= len(lines)
        client.write(b"end\r")
        client.shows(b"got %d\r\n" % (refused["written"] // 8))
        assert b"cut" not in client.data


def test_split_utf8(sandbox):
    """Characters that are cut between messages arrive whole, both ways."""
    terminal = Terminal(sandbox, "stty -echo; echo ready; read line; printf '%s' \"$line\" | od -An -tx1; printf '\\303'; sleep 0.3; printf '\\274'; echo")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"ready")
        for byte in "gr\u00fc\u00df\u20ac".encode():
            client.write(bytes([byte]))
        client.write(b"\r")
        client.shows(b"67 72 c3 bc c3 9f e2 82 ac")
        client.shows("\u00fc".encode())


def test_bytes_of_every_value(sandbox):
    terminal = Terminal(sandbox, "stty raw -echo; echo ready; head -c 256 | od -An -v -tx1 | tr -d ' \\n'")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"ready")
        client.write(bytes(range(256)))
        client.shows(bytes(range(256)).hex().encode())


# ---- programs ----


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


@needs("vim")
def test_vim(sandbox):
    directory = make_directory()
    terminal = Terminal(sandbox, f"vim -u NONE -i NONE {directory}/file")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"\x1b[?1049h")
        client.shows(b"~")
        client.write(b"ihello from vim\x1b")
        client.shows(b"hello from vim")
        client.write(b":wq\r")
        assert client.finish()["exit_code"] == 0
    assert sandbox.shell(f"cat {directory}/file") == "hello from vim\n"


@needs("top")
def test_top(sandbox):
    terminal = Terminal(sandbox, "top -d 0.2", {"cols": 100, "rows": 30})
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"load average", 2)
        client.write(b"q")
        assert client.finish()["exit_code"] == 0


def test_python(sandbox):
    terminal = Terminal(sandbox, "/usr/bin/python3 -q", env={"PYTHON_BASIC_REPL": "1"})
    with Attached(sandbox, terminal.id) as client:
        client.shows(b">>> ")
        client.write(b"6 * 7\r")
        client.shows(b"\n42\r\n>>> ")  # before it is in raw mode again, a Ctrl-D would become a NUL
        client.write(b"\x04")
        client.finish()


@needs("less")
def test_less(sandbox):
    terminal = Terminal(sandbox, "seq 1000 | less")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"\n:")
        client.write(b"G")
        client.shows(b"1000")
        client.write(b"q")
        assert client.finish()["exit_code"] == 0


@needs("ssh-keygen")
def test_ssh_keygen(sandbox):
    directory = make_directory()
    terminal = Terminal(sandbox, f"ssh-keygen -t ed25519 -f {directory}/key")
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"passphrase")
        client.write(b"secret words\r")
        client.shows(b"again")
        client.write(b"secret words\r")
        assert client.finish()["exit_code"] == 0 and b"secret words" not in client.data


def test_read_s(sandbox):
    terminal = bash(sandbox)
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"> ")
        client.write(b"read -s -p 'password: ' p; echo got ${#p}\r")
        client.shows(b"\rpassword: ")
        client.write(b"hidden\r")
        client.shows(b"got 6")
        assert b"hidden" not in client.data


@needs("tmux")
def test_tmux(sandbox):
    directory = make_directory()
    terminal = Terminal(sandbox, f"tmux -f /dev/null -S {directory}/tmux new-session 'exec sh'", env={"LC_ALL": "C.UTF-8", "SHELL": "/bin/sh"})
    with Attached(sandbox, terminal.id) as client:
        client.shows(b"0:sh")
        client.write(b"echo in''side; exit\r")
        client.shows(b"inside")
        client.finish()


# ---- daemons die ----


@pytest.mark.parametrize("daemon", ["terminal", "procd", "fcgi-app", "nginx"])
def test_no_byte_is_lost_or_doubled(server, daemon):
    """The output as viewers put it together, over the deaths of a daemon, is the log."""
    terminals = [Terminal(server, "i=0; while [ $i -lt 4000 ]; do echo line $i; i=$((i+1)); done; read end") for _ in range(4)]
    stop = threading.Event()

    def view(number):
        terminal = terminals[number]
        data, offset, client = bytearray(), 0, None
        while not data.endswith(b"line 3999\r\n"):
            try:
                client = client or Attached(server, terminal.id, f"&offset={offset}", timeout=TIMEOUT)
                before = len(client.data)
                if not client.step():
                    raise OSError
                data += client.data[before:]
                offset = client.offset
            except (AssertionError, OSError, Refused, ValueError, IndexError, KeyError):
                client = None
        return bytes(data)

    def kill():
        for _ in range(3):
            if stop.wait(0.3):
                return
            server.back(daemon, server.kill_daemon(daemon))

    killer = threading.Thread(target=kill)
    killer.start()
    found = in_threads(4, view)
    stop.set()
    killer.join()
    for terminal, data in zip(terminals, found):
        assert data == terminal.output()
        with Attached(server, terminal.id, f"&offset={len(data)}") as client:
            client.write(b"\r")
            client.finish()


def test_typing_through_the_death_of_procd(server):
    """Which has nothing to do with those who are attached."""
    terminal = bash(server)
    with Attached(server, terminal.id) as client:
        client.shows(b"> ")
        server.kill_daemon("procd")
        client.write(b"echo st''ill\r")
        client.shows(b"still")


def test_pings(make_server):
    server = make_server({"SANDBOX_STREAM_KEEPALIVE": "1s"})
    terminal = Terminal(server, "sleep 2.5; echo over")
    with Attached(server, terminal.id) as client:
        client.finish()
        assert client.pings >= 1


def test_a_deleted_process(sandbox):
    terminal = Terminal(sandbox, "echo x")
    terminal.end()
    with Attached(sandbox, terminal.id) as client:
        client.finish()
    assert sandbox.post("/delete_process", id=terminal.id).status_code == 200
    assert refusal(sandbox, f"?id={terminal.id}")[0] == 404
