"""
The HTTP fuzzer: many connections at once say what http_cases.py makes up to a server of its own, and

- what is answered is one of the statuses that the API knows, its body is whole and what it says it is;
- without the token nobody gets anything;
- what is a whole request is answered;
- afterwards every daemon is the process that it was, has no more descriptors, threads, processes and files than before,
  about as much memory, and does its work.

`make fuzz-http REQUESTS=100000 SEED=...`, or test_http_fuzzer.py. A violation tells the number of its case, and
`make fuzz-http SEED=... CASE=...` sends that case alone.
"""

import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "api"))

from sandbox import REPOSITORY, SANITIZED, Server, check_framing, descriptors, proc_file, wait_until
from http_cases import World, make_case

ERROR_CODES = set(re.findall(r"^    ERROR\((\w+), ", (REPOSITORY / "api/errors.h").read_text(), re.M))
ALLOWED = {200, 201, 204, 206, 304, 400, 401, 403, 404, 405, 408, 409, 412, 413, 414, 415, 416, 426, 431, 501, 505}
REFUSALS = ALLOWED - {200, 201, 204, 206, 304, 404, 409, 412, 416, 426}  # to who has no token
HANG = 60  # seconds after which a whole request is not answered any more
CLIENTS = 24
WARM_UP = 500  # cases before the server is measured the first time
MEMORY = 8192  # KiB that a daemon may have more than then
# Threads that fcgi-app keeps: four for one task each, and its workers.
POOL = 4 + int(re.search(r"#define TURNS_MOST (\d+)", (REPOSITORY / "fcgi-app/http/workers.c").read_text()).group(1))
PATIENCE = 0.2  # seconds for an answer that may take long, or need not come
SETTINGS = {
    "SANDBOX_MAX_TIMEOUT": "2s",  # no command outlives it
    "SANDBOX_KEEP_FINISHED": "50",
    "SANDBOX_MAX_FAILED_AUTH": "0",
    "SANDBOX_MAX_BODY": "1m",
    "SANDBOX_MAX_OUTPUT": "100k",
    "SANDBOX_UPLOAD_LIFETIME": "2s",
}
BAD_NEWS = re.compile(r"\[(alert|emerg)\]|exited on signal|Sanitizer|runtime error|Assertion|core dumped")


class Violation(AssertionError):
    pass


def require(condition, what):
    if not condition:
        raise Violation(what)


# ---- answers ----


def judge(case, method, status, headers, body):
    """Fails unless this may be the answer to a request of the case."""
    shown = f"{status} {body[:300]!r}"
    require(status in ALLOWED, f"status {shown}")
    require(headers.get("X-Request-ID"), f"no X-Request-ID with {shown}")
    if not case.token and status not in REFUSALS:
        require(status == 200 and body in (b"", b'{"status":"ok"}'), f"without the token: {shown}")
    if method == "HEAD" or status in (204, 304):
        return
    if "Content-Security-Policy" in headers:
        is_archive = status == 200 and ".tar" in headers.get("Content-Disposition", "")
        require(is_archive or (status in (200, 206) and headers.get("Accept-Ranges") == "bytes"), f"a file with {shown}")
        return
    if status == 201 and not body:
        return
    kind = headers.get("Content-Type", "")
    if kind.startswith("text/event-stream"):
        require(status == 200, f"events with {shown}")
        try:
            check_framing(body)
        except (AssertionError, ValueError) as error:
            raise Violation(f"framing: {error}") from error
        return
    require(kind.startswith("application/json"), f"{kind!r} with {shown}")
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise Violation(f"no JSON: {shown}") from error
    require(isinstance(answer, dict), f"no object: {shown}")
    require(status < 400 or (isinstance(answer.get("error"), str) and answer["error"]), f"no error in {shown}")
    require(status < 400 or answer.get("error_code") in ERROR_CODES, f"no error code in {shown}")


def judge_bare(body):
    """Fails unless this may be the answer to a request of HTTP/0.9: there are no headers in it, so it came without the token."""
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise Violation(f"no JSON without a header: {body[:300]!r}") from error
    error = answer.pop("error", "") if isinstance(answer, dict) else ""
    refused = error == "Bad request" and answer == {"error_code": "invalid_request"} or error.startswith("Unauthorized: ") and answer == {"error_code": "unauthorized"}
    require(answer == {"status": "ok"} or refused, f"without a header: {body[:300]!r}")


def read_answer(raw, case, method, world):
    """Judges the next answer: (its status, whether the connection ends with it); no status at the end of the connection."""
    begin = raw.reader.peek(5)[:5]
    if not b"HTTP/".startswith(begin):
        body = raw.reader.read()
        if "HEAD" not in case.methods:  # after which, where requests are not framed, it is not known what has a body
            judge_bare(body)
        return None, True
    if not begin:
        return None, True
    response = http.client.HTTPResponse(raw, method=method)
    response.begin()
    body = response.read()
    judge(case, method, response.status, response.headers, body)
    if response.status == 201 and body:
        world.jobs.append(json.loads(body)["id"])
    elif response.status == 201 and response.headers.get("Location"):
        world.uploads.append(response.headers["Location"].rpartition("/")[2])
    return response.status, response.will_close


# ---- clients ----


def reset(raw):
    raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(raw, data, manner, rng):
    """Sends the case as its manner wants it."""
    if manner.startswith("half"):
        raw.send(data[:rng.randrange(len(data) + 1)])
    elif manner == "pieces":
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(4))
        for begin, end in zip([0, *cuts], [*cuts, len(data)]):
            raw.send(data[begin:end])
    else:
        raw.send(data)
    if manner == "shut":
        raw.socket.shutdown(socket.SHUT_WR)


def read_answers(raw, case, must, world, statuses):
    """As many as there are requests, where these are known, or until the server ends the connection."""
    count = 0
    while count < len(case.methods) or not case.framed:
        method = case.methods[count] if count < len(case.methods) else "GET"
        status, last = read_answer(raw, case, method, world)
        if status is None:
            require(not must, "the connection ended without an answer")
            return
        statuses[status] += 1
        count += 1
        if last:
            return


def converse(case, raw, world, rng, statuses):
    """One case on one connection."""
    must = case.framed and not case.waits and case.manner in ("plain", "pieces")
    raw.socket.settimeout(HANG if must else PATIENCE)
    try:
        with contextlib.suppress(ConnectionError):  # what is refused before it is all sent has its answer all the same
            say(raw, case.data, case.manner, rng)
        if case.manner == "peek":
            raw.socket.recv(1)
        elif case.manner in ("plain", "pieces", "shut"):
            read_answers(raw, case, must, world, statuses)
    except TimeoutError as error:
        require(not must, f"no answer within {HANG} s: {error!r}")
    except (OSError, http.client.IncompleteRead) as error:
        require(not must, f"cut: {error!r}")
    if "reset" in case.manner:
        reset(raw)


class Clients:
    """Threads that take case after case."""

    def __init__(self, server, world, seed, numbers):
        self.server, self.world, self.seed = server, world, seed
        self.numbers = iter(numbers)
        self.lock = threading.Lock()
        self.statuses, self.requests, self.violation = collections.Counter(), 0, None

    def take(self):
        with self.lock:
            return None if self.violation else next(self.numbers, None)

    def work(self):
        statuses, requests = collections.Counter(), 0
        while (number := self.take()) is not None:
            case = make_case(self.seed, number, self.world)
            requests += max(1, len(case.methods))
            try:
                with self.server.raw() as raw:
                    converse(case, raw, self.world, random.Random(f"{self.seed}/{number}/manner"), statuses)
            except Exception as error:  # pylint: disable=broad-except
                with self.lock:
                    self.violation = self.violation or (number, case, error)
        with self.lock:
            self.statuses.update(statuses)
            self.requests += requests

    def run(self, count):
        threads = [threading.Thread(target=self.work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.violation:
            number, case, error = self.violation
            raise Violation(f"seed {self.seed}, case {number} ({case.manner}): {error!r}\n{case.data[:3000]!r}") from error


# ---- the server, before and after ----

DAEMONS = ("nginx", "procd", "fcgi-app", "terminal")


def memory(pid):
    """What a process has in memory, in KiB."""
    return int(re.search(rb"VmRSS:\s+(\d+)", proc_file(pid, "status")).group(1))


def calm(server):
    """Ends what was begun, and the connections that nginx keeps to fcgi-app, with its workers."""
    for process in server.processes():
        server.kill(process["id"])
        server.post("/delete_process", id=process["id"])
    server.post("/unbind_port")
    for port in (9, 65535):
        server.post("/unshare_port", port=port)
    master = server.daemon("nginx")
    old = set(server.nginx_pids()) - {master}
    os.kill(master, signal.SIGHUP)
    wait_until(lambda: not old & set(server.nginx_pids()), "the old workers to end", HANG)


class Vitals:
    """What the server holds while nothing is going on."""

    def __init__(self, server):
        self.pids = {name: server.daemon(name) for name in DAEMONS}
        links = {name: descriptors(pid) for name, pid in self.pids.items()}
        # Connections between the daemons are kept for the next request.
        self.sockets = {name: sum(link.startswith("socket:") for link in links[name]) for name in DAEMONS}
        self.others = {name: sorted(re.sub(r"\d+", "", link) for link in links[name] if not link.startswith("socket:")) for name in DAEMONS}
        self.threads = {name: len(os.listdir(f"/proc/{pid}/task")) for name, pid in self.pids.items()}
        self.memory = {name: memory(pid) for name, pid in self.pids.items()}
        self.processes = len(server.launch.tree())
        self.files = {str(path.relative_to(server.run_dir)) for path in server.run_dir.rglob("*")}

    def __str__(self):
        daemons = (f"{name} {self.sockets[name]} sockets, {len(self.others[name])} other descriptors, {self.threads[name]} threads, "
                   f"{self.memory[name]} KiB" for name in DAEMONS)
        return "; ".join(daemons) + f"; {self.processes} processes, {len(self.files)} files"

    def growth(self, before):
        """What there is more of than before, in words; "" if nothing is."""
        for name in DAEMONS:
            if self.pids[name] != before.pids[name]:
                return f"{name} was started again"
            if self.others[name] != before.others[name] or self.sockets[name] > before.sockets[name] + CLIENTS:
                return f"{name} holds descriptors"
            if self.threads[name] > max(before.threads[name], POOL if name == "fcgi-app" else 0):
                return f"{name} has threads left"
            if self.memory[name] > before.memory[name] + MEMORY and not SANITIZED:
                return f"{name} has more memory"
        if self.processes > before.processes:
            return "processes are left"
        return f"files are left: {self.files - before.files}" if self.files - before.files else ""


def check_vitals(server, before):
    """Waits until it holds no more than before: what is spare goes within seconds."""
    calm(server)
    try:
        wait_until(lambda: not Vitals(server).growth(before), "", HANG)
    except AssertionError:
        now = Vitals(server)
        raise Violation(f"{now.growth(before)}\nbefore: {before}\nnow:    {now}") from None


def check_service(server, world):
    """It does what it is for, and has not complained."""
    require(not os.path.exists(world.canary), "a command of somebody without the token was run")
    require(server.shell("echo here") == "here\n", "no /run")
    path = f"{world.directory}/whole"
    require(server.post("/write_file", path=path, content="é\0").json() == {"success": True}, "no /write_file")
    require(server.post("/read_file", path=path).json() == {"content": "é\0"}, "no /read_file")
    require(server.lines(server.start("echo 1; echo 2")["id"]) == ["1", "2"], "no log")
    bad = [line for line in server.launch.stderr.lines if BAD_NEWS.search(line)]
    require(not bad, f"said: {bad[:5]}")


def fuzz(seed, numbers, say=lambda text: None):
    """Sends the cases of these numbers to a server of its own. The clients, with what they have counted."""
    with Server(SETTINGS) as server:
        directory = os.path.join(server.home, "fuzz")
        os.mkdir(directory)
        world = World(server.secret, directory)
        Clients(server, world, "warming up", range(WARM_UP)).run(CLIENTS)
        calm(server)
        server.settle()
        calm(server)
        before = Vitals(server)
        say(f"before: {before}")
        clients = Clients(server, world, seed, numbers)
        clients.run(CLIENTS)
        check_service(server, world)
        check_vitals(server, before)
        say(f"after:  {Vitals(server)}")
        return clients


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--seed", default=str(random.randrange(10**6)))
    parser.add_argument("--case", type=int, help="only this one")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without ending the server
    print(f"seed {options.seed}", flush=True)
    begin = time.monotonic()
    numbers = range(options.requests) if options.case is None else [options.case]
    try:
        clients = fuzz(options.seed, numbers, lambda text: print(text, flush=True))
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    statuses = ", ".join(f"{count} x {status}" for status, count in sorted(clients.statuses.items()))
    print(f"{clients.requests} requests in {time.monotonic() - begin:.0f} s; answered: {statuses}\nseed {options.seed}: all held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
