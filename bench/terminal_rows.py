"""The rows of terminals, and of TCP connections in WebSockets: beside a loop that reads a bare PTY, and the stream proxy."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import types

import load
from port_rows import upgraded
from servers import DAEMONS, GUARD, NGINX, RUNNERS, TERMINAL, TOOLS, wait_until
from table import FEW, WORST_S, Figure, Form

MEBIBYTE = 1 << 20
KEYS = 1000
IDLE = 500
DRIVEN = 20
ALL = f"{DAEMONS}|{TERMINAL}|{GUARD}|{NGINX}"
RAW = "stty raw -echo; printf R"
EVERYTHING = {"SANDBOX_LOG_MAX": "1g"}  # so that a slow viewer gets all, too


def terminal(server, command):
    """The id of a process that has one, once it has written an R."""
    id_ = server.call("/start_process", {"cmd": command, "pty": {}})["id"]
    assert server.call("/read_output", {"id": id_, "until": "R"})["why"] == "until", command
    return id_


def kill(server, id_):
    server.call("/kill_process", {"id": id_})


def viewers(server, *arguments):
    return subprocess.Popen([TOOLS / "viewers", str(server.port), *map(str, arguments)], env={**os.environ, "SANDBOX_SECRET": server.secret},
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def milliseconds(text):
    return [int(line) / 1e6 for line in text.split()]


def key_echo(bench):
    """One key after the other."""
    command = f"{RAW}; exec cat"

    def attached(server):
        id_ = terminal(server, command)
        samples = milliseconds(viewers(server, 1, f"/attach?id={id_}", KEYS).communicate()[0])
        kill(server, id_)
        assert len(samples) == KEYS, len(samples)
        return samples

    figures = bench.each(attached, {"bare": lambda: milliseconds(load.tool("bare_terminal", command, KEYS))})
    more = figures["here"].median() - figures["bare"].median()
    bench.line("from a key to its echo through `/attach`", figures, Form("median {:.3f} ms"),
               ("bare", "{:.3f} ms a bare PTY loop", "", f", {more:.3f} ms more (target ≤ 0.3{' **missed**' if more > 0.3 else ''})"))


@contextlib.contextmanager
def big_text(size):
    """A command that writes a file of so many bytes to its terminal after a newline."""
    line = b"The quick brown fox jumps over the lazy dog; 0123456789 abcdefghijklmno\n"
    with tempfile.NamedTemporaryFile(prefix="bench", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as file:
        os.chmod(file.name, 0o644)
        file.write((line * (size // len(line) + 1))[:size])
        file.flush()
        yield f"{RAW}; read -r line; exec cat {file.name}"


def view(server, command, size, count):
    """The bytes of all viewers in a second, in MB."""
    id_ = terminal(server, command)
    with viewers(server, count, f"/attach?id={id_}&mode=view") as clients:
        assert clients.stdout.readline() == "open\n"
        began = time.monotonic()
        server.call("/write_stdin", {"id": id_, "data": "\n"})
        least, total, _ = clients.stdout.readline().split()
        seconds = time.monotonic() - began
    assert int(least) == size + 1 and int(total) == (size + 1) * count, (least, total)  # the R, too
    return int(total) / 1e6 / seconds


def bare_view(command, size):
    got, seconds = load.tool("bare_terminal", command).split()
    assert int(got) == size, got
    return size / 1e6 / float(seconds)


def peak_growth(server, work):
    """How much more memory all daemons and runners have meanwhile, in MiB: a look every 50 ms."""
    seen, stop = [server.pss_kib(f"{ALL}|{RUNNERS}")], threading.Event()

    def look():
        while not stop.wait(0.05):
            seen.append(server.pss_kib(f"{ALL}|{RUNNERS}"))

    thread = threading.Thread(target=look)
    thread.start()
    work()
    stop.set()
    thread.join()
    return (max(seen) - seen[0]) / 1024


def terminal_output(bench):
    size = 100 * 10 ** 6
    with big_text(size) as command:
        figures = bench.each(lambda server: view(server, command, size, 1), {"bare": lambda: bare_view(command, size)}, FEW, **EVERYTHING)
        grown = bench.fresh(lambda server: peak_growth(server, lambda: view(server, command, size, 1)), turns=1)
    bench.line("100 MB through a terminal with one viewer", figures, Form("{:.1f} MB/s"), ("bare", "{:.1f} MB/s a bare PTY loop", "≥ 0.8"))
    bench.line("more memory of all daemons and runners meanwhile", grown, Form("{:.1f} MiB PSS"), target="≤ 8 MiB")


def terminal_viewers(bench):
    count, size = 50, 20 * 10 ** 6
    with big_text(size) as command, contextlib.ExitStack() as stack:
        alone = bench.start(stack, **EVERYTHING)["here"]
        figures = bench.each(lambda server: view(server, command, size, count), {"one": lambda: view(alone, command, size, 1)}, FEW, **EVERYTHING)
    bench.line(f"{count} viewers of one busy terminal, every byte", figures, Form("{:.1f} MB/s in sum"), ("one", "{:.1f} MB/s one viewer", "≥ 5"))


def idle_terminals(bench):
    """Of shells. The runners that wait for jobs count as those of terminals."""
    def measure(server):
        server.call("/run", {"cmd": "true"})
        before = server.pss_kib(ALL)
        ids = [terminal(server, "echo R; exec sh") for _ in range(IDLE)]
        clients = [viewers(server, 1, f"/attach?id={id_}") for id_ in ids]
        for client in clients:
            assert client.stdout.readline() == "open\n"
        figure = [(server.pss_kib(ALL) - before) / IDLE, server.pss_kib(RUNNERS) / len(server.pids(RUNNERS))]
        for client in clients:
            client.communicate()
        return figure

    figures = bench.fresh(measure, turns=1, SANDBOX_MAX_TERMINALS="0")
    for what, target, number in ((f"an idle attached terminal ({IDLE} open), all daemons", "≤ 32 KiB", 0), ("its runner", "≤ 200 KiB", 1)):
        chosen = {name: Figure() for name in figures}
        for name, figure in figures.items():
            chosen[name].add(figure.turns[0][number])
        bench.line(what, chosen, Form("{:.1f} KiB PSS"), target=target)


class Driven:
    """A terminal that writes numbered lines all the time and echoes keys, and its viewer, who comes again when he is cut."""

    def __init__(self, server):
        self.server, self.output, self.keys, self.answered = server, bytearray(), 0, 0
        self.id = terminal(server, f"{RAW}; {TOOLS}/ticker 100000 | nl -ba & exec cat")
        self.connection, self.ends = None, False
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()

    def follow(self):
        while not self.ends:
            try:
                with upgraded(self.server, f"/attach?id={self.id}&offset={len(self.output)}") as self.connection:
                    self.connection.settimeout(10)
                    self.press()
                    with self.connection.makefile("rb") as stream:
                        self.read(stream)
            except (OSError, AssertionError, struct.error):
                time.sleep(0.02)

    def read(self, stream):
        while True:
            opcode, size = struct.unpack(">BB", stream.read(2))
            if size == 126:
                size = struct.unpack(">H", stream.read(2))[0]
            payload = stream.read(size)
            if len(payload) < size or opcode == 0x88:
                return
            if opcode == 0x82:
                self.output += payload
                self.answered = max(self.answered, self.output.count(b"k"))
            assert opcode != 0x81 or b'"gap"' not in payload, payload

    def press(self):
        """A key, unmasked in effect."""
        self.keys += 1
        self.connection.sendall(b"\x82\x81\0\0\0\0k")

    def stop(self):
        self.ends = True
        kill(self.server, self.id)
        self.thread.join()

    def check(self):
        """All that the terminal has written, once: each number after the one before, as in the log."""
        segments = sorted(pathlib.Path(f"{self.server.directory}/run/state/jobs/{self.id}").glob("bytes.*"))
        assert b"".join(segment.read_bytes() for segment in segments) == self.output, self.id
        numbers = [int(number) for number in re.findall(rb"(\d+)\t\d{18,}\n", self.output.replace(b"k", b""))]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 100, self.id


def terminal_recovery(bench):
    """From the death of a daemon until each of the terminals echoes a key that was typed later, with a new daemon in its place."""
    def once(server, name, driven):
        old, started = server.leader(name), time.monotonic()
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: server.leader(name) not in (None, old), 30)
        awaited = [(each, each.answered) for each in driven]
        while waiting := [(each, answered) for each, answered in awaited if each.answered <= answered]:
            for each, _ in waiting:
                with contextlib.suppress(OSError):
                    each.press()
            time.sleep(0.02)
        return time.monotonic() - started

    def measure(server):
        driven = [Driven(server) for _ in range(DRIVEN)]
        wait_until(lambda: all(each.answered for each in driven))
        time.sleep(2)
        found = {}
        for name in ("procd", "fcgi-app", "terminal", "nginx"):
            found[name] = once(server, name, driven)
            time.sleep(2)  # a second lies between two starts of one service
        for each in driven:
            each.stop()
        for each in driven:
            each.check()
        return list(found.values())

    figures = bench.fresh(measure, turns=2)
    bench.line(f"from SIGKILL of procd, fcgi-app, terminal or nginx to the echo of a key in each of {DRIVEN} driven terminals, no byte lost", figures, WORST_S,
               target="≤ 2 s")


class Source:
    """Sends 1 GiB to each who connects: an answer of HTTP/1.0, for those who count it."""

    HEAD, SIZE = b"HTTP/1.0 200 OK\r\n\r\n", 1 << 30

    def __enter__(self):
        self.file = os.memfd_create("source")
        os.truncate(self.file, MEBIBYTE)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.sendall(self.HEAD)
            for _ in range(self.SIZE // MEBIBYTE):
                at = 0
                while at < MEBIBYTE:
                    at += os.sendfile(connection.fileno(), self.file, at, MEBIBYTE - at)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        os.close(self.file)


def tcp_websocket(bench):
    """The same server of ours passes both on."""
    with Source() as source, contextlib.ExitStack() as stack:
        size = len(source.HEAD) + source.SIZE
        here = bench.start(stack)["here"]
        here.call("/bind_port", {"port": str(source.port)})
        proxy = types.SimpleNamespace(port=here.proxy, secret="")

        def through(server):
            with viewers(server, 1, f"/tcp/{source.port}") as clients:
                _, got, seconds = clients.stdout.read().splitlines()[-1].split()
            assert int(got) == size, got
            return int(got) / 1e6 / float(seconds)

        def plain():
            _, got, seconds = load.Streams(proxy, 1, "GET", "/").result()
            assert got == size, got
            return got / 1e6 / seconds

        figures = bench.each(through, {"proxy": plain}, FEW)
    bench.line("`/tcp/N`, 1 GiB towards the client", figures, Form("{:,.0f} MB/s"), ("proxy", "{:,.0f} MB/s the stream proxy", "≥ 0.5"))
