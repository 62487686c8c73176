"""Load on a server: requests from wrk, a fixed number of them, and event streams."""

import concurrent.futures
import json
import os
import re
import socket
import subprocess
import sys
import tempfile

from servers import TOOLS

SECONDS = int(os.environ.get("BENCH_SECONDS", "1"))  # of each measurement of a rate


def wrk(server, path, body=None, connections=8, port=None, lua=""):
    """The output of wrk: GET, POST with a body, or what a script in Lua says."""
    command = ["wrk", f"-t{min(2, connections)}", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "30s", "--latency",
               "-H", f"Authorization: Bearer {server.secret}"]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        if body is not None:
            lua += 'wrk.method = "POST"\nwrk.body = [==[%s]==]\n' % json.dumps(body)
        if lua:
            script.write(lua)
            script.flush()
            command += ["-s", script.name]
        url = f"http://{server.host}:{port or server.port}{path}"
        output = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", output)
    if bad:
        print(f"bench: {url}: {bad.group(0)}", file=sys.stderr)
    return output


def rate(server, path, body=None, **how):
    """Answers in a second."""
    return float(re.search(r"Requests/sec: +([\d.]+)", wrk(server, path, body, **how)).group(1))


def latency(server, path, body=None):
    """The median in ms, one request after the other on one connection."""
    number, unit = re.search(r"50% +([\d.]+)(us|ms|s)\b", wrk(server, path, body, connections=1)).groups()
    return float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


# PUTs of 4 KiB, to names of each client's own. The texts are made once: wrk shares the processors.
PUTS = '''local threads, count, requests = 0, 0, {}
function setup(thread) threads = threads + 1 thread:set("id", threads) end
wrk.method, wrk.body = "PUT", string.rep("x", 4096)
function init() for i = 1, 4 do requests[i] = wrk.format(nil, wrk.path .. "-" .. id .. "-" .. i) end end
function request() count = count % 4 + 1 return requests[count] end
'''


def put_rate(server, path):
    """Of PUTS in a second."""
    return rate(server, path, lua=PUTS)


def curl(server, path, *arguments):
    """What curl gets in a second, or sends with -T: in MB/s of the body."""
    command = ["curl", "-sS", "--fail", "-w", r"\n%{size_upload} %{size_download} %{time_total}", "-H", f"Authorization: Bearer {server.secret}", "-H", "Expect:",
               *arguments, f"http://{server.host}:{server.port}{path}"]
    sent, got, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()
    return max(int(sent), int(got)) / 1e6 / float(seconds)


def answer(lines):
    """Reads one answer of a kept connection."""
    status, length = lines.readline(), 0
    assert status.startswith(b"HTTP/1.1 2"), status
    while (line := lines.readline().strip()):
        name, _, value = line.partition(b": ")
        length = int(value) if name.lower() == b"content-length" else length
    return lines.read(length)


def requests(server, count, path, body, connections=8):
    """So many requests, over kept connections with the same number on each."""
    text = json.dumps(body)
    request = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {server.secret}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()

    def client():
        with socket.create_connection((server.host, server.port)) as connection, connection.makefile("rb") as lines:
            for _ in range(count // connections):
                connection.sendall(request)
                answer(lines)

    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        for done in [pool.submit(client) for _ in range(connections)]:
            done.result()


def tool(name, *arguments):
    return subprocess.run([TOOLS / name, *map(str, arguments)], capture_output=True, text=True, check=True).stdout


class Streams:
    """bench/stream_reader on a server."""

    def __init__(self, server, count, method, path, body=None):
        self.process = subprocess.Popen(
            [TOOLS / "stream_reader", str(server.port), str(count), method, path, *([json.dumps(body)] if body else [])],
            env={**os.environ, "SANDBOX_SECRET": server.secret}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_for(self, word):
        for line in self.process.stdout:
            if line.startswith(word):
                return line.split()
        sys.exit(f"bench: streams ended before '{word}'")

    def result(self):
        """Events, bytes and seconds."""
        last = self.process.stdout.read().splitlines()[-1].split()
        self.process.wait()
        return int(last[0]), int(last[1]), float(last[2])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def open_stream(server, body):
    """POST /run_streaming on a raw HTTP/1.0 connection; the file of its answer, head read."""
    text = json.dumps(body)
    return open_raw(server, f"POST /run_streaming HTTP/1.0\r\nAuthorization: Bearer {server.secret}\r\nContent-Length: {len(text)}\r\n\r\n{text}")


def open_changes(server, directory):
    """The same of GET /file_changes_streaming, for all below a directory."""
    return open_raw(server, f"GET /file_changes_streaming?recursive=1&path={directory} HTTP/1.0\r\nAuthorization: Bearer {server.secret}\r\n\r\n")


def open_raw(server, request):
    connection = socket.create_connection((server.host, server.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(request.encode())
    lines = connection.makefile("rb")
    while lines.readline().strip():
        pass
    return connection, lines
