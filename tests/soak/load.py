"""
The load: clients that do so many operations a second, each from a table of its own. The operations are those of
tests/chaos/ where there is one; here each is told from its beginning to its end, since no daemon dies meanwhile, and
nothing is left of it, neither in the sandbox nor in the memory of its client. Every answer is checked, and whatever is
wrong is reported by the message "failed".
"""

import contextlib
import http.client
import json
import random
import signal
import socket
import socketserver
import struct
import threading
import time
import traceback
from typing import NamedTuple

from client import PATIENCE, Follower, ask, events_of, judge, open_stream
from model import Model, Skipped, Violation, Weather
from operations import (Operation, always, bind_race, health, hang_up, kill, read_file, read_snapshot, run, run_streaming, run_with_timeout,
                        send_signal, start_burst, start_deaf, start_leaver, start_reader, start_ticker, start_timed, start_tree, unbind,
                        use_port, wait_process, write_file, write_stdin)
from sandbox import Sandbox, Server, http_request, in_threads, wait_until

LONG_LOG = 60000  # lines, which are more than a log keeps on disk
CONTENTS = (0, 1, 1 << 10, 100 << 10, 2 << 20)  # bytes of the files that are written


class Neighbour(Sandbox):
    """A server on this machine that somebody else has started."""

    find = Server.find


class Target(socketserver.BaseRequestHandler):
    """What listens behind the bindable ports: says which port it is, after 200,000 spaces."""

    def handle(self):
        self.request.sendall(str(self.server.server_address[1]).rjust(200000).encode())


class Client:
    """One client, and all that the operations of tests/chaos/ need of a world: calm weather and a model, which is its own."""

    def __init__(self, server, directory, number):
        self.server, self.number = server, number
        self.model = Model(directory)
        self.weather = Weather()
        self.features = {"run stdin", "cursor"}
        self.stop = self.failed = threading.Event()  # never set: an operation that has begun comes to its end
        self.targets = []

    def pause(self, seconds):
        self.failed.wait(seconds)

    def job(self):
        """The job of the operation that is under way."""
        return self.model.jobs[-1]

    def forget(self):
        """The end of an operation; a job that it may have left running is killed."""
        for job in self.model.jobs:
            if job.id and job.final is None:
                ask(self, "POST", "/kill_process", {"id": job.id})
            job.progress.unlink(missing_ok=True)
        for once in (*self.model.jobs, *self.model.onces):
            once.path.unlink(missing_ok=True)
        self.model.jobs, self.model.onces = [], []
        self.model.by_tag.clear()

    def expect(self, status, method, path, body=None, **options):
        """One request and its answer, which has this status, or one of these."""
        answer = ask(self, method, path, body, **options)
        if answer.status not in (status if isinstance(status, tuple) else (status,)):
            raise Violation(f"{path}: {answer} {str(answer.body)[:300]}")
        return answer.body


# ---- jobs ----


def finish(client, rng, **how):
    """Follows the log of the job to its end, waits for the end of the job and checks both."""
    job = client.job()
    Follower(client, job, **how).run()
    wait_until(lambda: wait_process(client, rng) and job.final, f"the end of job {job}", PATIENCE)
    job.check_end()
    return job.final


def job_that_ends(client, rng):
    rng.choice((start_burst, start_burst, start_burst, start_leaver, start_timed))(client, rng)
    how = rng.choice(({}, {}, {"slow": True}, {"leave_after": 7}, {"leave_after": 200}))
    return finish(client, rng, **how)


def job_that_is_killed(client, rng):
    """The reader of its log leaves before that."""
    rng.choice((start_ticker, start_ticker, start_tree))(client, rng)
    job = client.job()
    if job.kind == "ticker":
        path = f"/process_logs_streaming?id={job.id}"
        stream, _ = open_stream(client, "GET", path)
        for position, event in zip(range(3), events_of(client, stream, path)):
            job.see(position, event)
        stream.close(reset=rng.random() < 0.5)
        read_snapshot(client, rng)
    kill(client, rng)
    return finish(client, rng)


def job_that_is_told_to_end(client, rng):
    start_deaf(client, rng)
    send_signal(client, rng)
    kill(client, rng)
    return finish(client, rng)


def job_that_reads(client, rng):
    start_reader(client, rng)
    job = client.job()
    for _ in range(5):
        write_stdin(client, rng)
    if not job.disturbed():
        job.signals += 1
        client.expect(200, "POST", "/write_stdin", {"id": job.id, "data": "", "eof": True})
    return finish(client, rng)


def long_log(client, _):
    """A log that rotates is read at its end and deleted with its job."""
    job = client.expect(201, "POST", "/start_process", {"cmd": f"seq {LONG_LOG}"})["id"]
    wait_until(lambda: client.expect(200, "POST", "/wait_process", {"id": job, "timeout_ms": 5000})["status"] == "completed",
               f"the end of {job}", PATIENCE)
    path = f"/process_logs_streaming?id={job}&tail=3"
    stream, _ = open_stream(client, "GET", path)
    with stream:
        lines = [event.data["data"] for event in events_of(client, stream, path) if event.name == "log"]
    if lines != [str(LONG_LOG - 2), str(LONG_LOG - 1), str(LONG_LOG)]:
        raise Violation(f"{path}: {lines}")
    client.expect(200, "POST", "/delete_process", {"id": job})
    return "deleted"


def list_processes(client, _):
    listed = client.expect(200, "GET", "/list_processes?full=1")["processes"]
    if len({entry["id"] for entry in listed}) != len(listed):
        raise Violation("a process is listed twice")
    return "listed"


# ---- files ----


def files(client, rng):
    """A directory with a file of some size, from the first to the last call."""
    directory = f"{client.model.directory}/files/{rng.randrange(10**9)}"
    path, content = f"{directory}/a file", "ä" * (rng.choice(CONTENTS) // 2)
    for endpoint, fields, expected in (
            ("/make_dir", {"path": directory}, {"success": True}),
            ("/write_file", {"path": path, "content": content}, {"success": True}),
            ("/read_file", {"path": path}, {"content": content}),
            ("/list_dir", {"path": directory}, {"entries": ["a file"]}),
            ("/delete_file", {"path": path}, {"success": True}),
            ("/delete_dir", {"path": directory}, {"success": True})):
        if (body := client.expect(200, "POST", endpoint, fields)) != expected:
            raise Violation(f"{endpoint}: {str(body)[:300]}")
    return "written, read, deleted"


def one_file(client, rng):
    """The same file, again and again."""
    return f"{write_file(client, rng)} {read_file(client, rng)}"


# ---- the port ----


def use_the_port(client, rng):
    """Only one client does this: there is one port."""
    bind_race(client, rng)
    for _ in range(3):
        use_port(client, rng)
    unbind(client, rng)
    return use_port(client, rng)


def rush(client):
    """
    More connections to the port at the same time than will come later. nginx keeps the memory that njs took for the
    most that ever began together: so that is seen in the warm-up, and not whenever chance has it.
    """
    client.expect(200, "POST", "/bind_port", {"port": str(client.targets[0])})

    def connect(_):
        for _ in range(50):
            with socket.create_connection((client.server.proxy_host, client.server.proxy_port), timeout=PATIENCE) as connection:
                if int(connection.makefile("rb").read()) != client.targets[0]:
                    raise Violation("PROXY_PORT leads elsewhere")

    in_threads(8, connect)
    client.expect(200, "POST", "/unbind_port")


# ---- what is wrong, and what is broken off ----


WRONG = (
    # status, method, path, body (bytes as they are), headers
    # 429: the server limits failed attempts of one address.
    ((401, 429), "POST", "/run", {"cmd": "true"}, {"Authorization": "Bearer wrong"}),
    ((401, 429), "GET", "/list_processes", None, {"Authorization": "Basic d3Jvbmc="}),
    (400, "POST", "/run", b'{"cmd": "true"', {}),
    (400, "POST", "/run", b"\xff\x00[]", {}),
    (400, "POST", "/run", {"cmd": None}, {}),
    (400, "POST", "/run", {"cmd": "true", "cwd": "/nowhere"}, {}),
    (400, "POST", "/start_process", {"cmd": ["true"]}, {}),
    (400, "POST", "/kill_process", {"id": "nobody"}, {}),
    (404, "GET", "/nowhere", None, {}),
    (405, "DELETE", "/run", None, {}),
    (200, "POST", "/read_file", {"path": "/nowhere"}, {}),
)


def wrong(client, rng):
    statuses, method, path, body, headers = rng.choice(WRONG)
    since = time.monotonic()
    response = client.server.call(method, path, body, headers={"Connection": "close", **headers}, timeout=PATIENCE)
    answer = judge(client, path, response.status_code, response.headers, response.content, since)
    if answer.status not in (statuses if isinstance(statuses, tuple) else (statuses,)) or "error" not in answer.body:
        raise Violation(f"{method} {path} {body}: {answer} {answer.body}")
    return str(answer)


def half_a_request(client, rng):
    """A client that goes away while it sends."""
    body = json.dumps({"path": f"{client.model.directory}/never", "content": "x" * rng.choice(CONTENTS)}).encode()
    request = http_request("POST", "/write_file", [("Host", "x"), client.server.bearer(), ("Content-Length", str(len(body)))], body)
    with client.server.raw(PATIENCE) as raw:
        raw.send(request[:rng.choice((10, len(request) // 2, len(request) - 1))])
        if rng.random() < 0.5:
            raw.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return "broken off"


def half_an_answer(client, rng):
    """A client that goes away while it reads what would never end."""
    stream, _ = open_stream(client, "POST", "/run_streaming", {"cmd": "exec yes"})
    for _ in zip(range(1000), events_of(client, stream, "/run_streaming")):
        pass
    stream.close(reset=rng.random() < 0.5)
    return "broken off"


OPERATIONS = (
    Operation("a job that ends",            12, always,                              job_that_ends),
    Operation("a job that is killed",       12, always,                              job_that_is_killed),
    Operation("a job that is told to end",   6, always,                              job_that_is_told_to_end),
    Operation("a job that reads",            8, always,                              job_that_reads),
    Operation("a long log",                  3, always,                              long_log),
    Operation("list",                       10, always,                              list_processes),
    Operation("run",                        16, always,                              run),
    Operation("run with a timeout",          4, always,                              run_with_timeout),
    Operation("run streaming",              10, always,                              run_streaming),
    Operation("hang up",                     6, always,                              hang_up),
    Operation("files",                      12, always,                              files),
    Operation("one file",                    6, always,                              one_file),
    Operation("health",                      4, always,                              health),
    Operation("wrong",                      10, always,                              wrong),
    Operation("half a request",              5, always,                              half_a_request),
    Operation("half an answer",              5, always,                              half_an_answer),
    Operation("use the port",               20, lambda client: client.number == 0,   use_the_port),
)


# ---- clients ----


class Pace(NamedTuple):
    """When a client does something: `rate` times a second, from the one time to the other (of time.monotonic)."""

    rate: float
    begin: float
    end: float

    def due(self, rng):
        """
        Waits for the next operation to be due and yields since when it is. Clients keep out of step. What is due while
        an operation is under way begins right after it; further ones are left out.
        """
        due = self.begin + rng.uniform(0, 1 / self.rate)
        while due < self.end:
            time.sleep(max(due - time.monotonic(), 0))
            yield due
            due = max(due + rng.uniform(0.5, 1.5) / self.rate, time.monotonic() - 0.5 / self.rate)


def attempt(tell, name, action, *arguments):
    """Does something, and reports a failure."""
    try:
        with contextlib.suppress(Skipped):
            action(*arguments)
    except Exception as error:  # whatever it is, it is a finding
        tell("failed", f"{name}: {error!r:.1000}\n{traceback.format_exc()}")


def mixed(client, seed, pace, tell):
    """One operation after the other, in an order that the seed makes."""
    rng = random.Random(f"{seed} {client.number}")
    if client.number == 0:
        time.sleep(max(pace.begin - time.monotonic(), 0))
        attempt(tell, "rush", rush, client)
    for _ in pace.due(rng):
        ready = [operation for operation in OPERATIONS if operation.ready(client)]
        operation, = rng.choices(ready, [operation.weight for operation in ready])
        attempt(tell, operation.name, operation.action, client, rng)
        attempt(tell, f"after {operation.name}", client.forget)
        tell("done", operation.name)


def pinger(server, seed, number, pace, tell):
    """`/run true` on a kept connection, timed since it was due if another was still under way then."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
    finished = 0
    for due in pace.due(random.Random(f"{seed} {number}")):
        begin = due if finished > due else time.monotonic()
        try:
            connection.request("POST", "/run", b'{"cmd":"true"}', {"Authorization": server.authorization})
            response = connection.getresponse()
            body = response.read()
            finished = time.monotonic()
            if response.status != 200 or json.loads(body)["code"] != 0:
                tell("failed", f"/run true: {response.status} {body[:300]!r}")
            tell("ping", (finished, 1000 * (finished - begin)))
        except (OSError, http.client.HTTPException, ValueError) as error:
            tell("failed", f"/run true: {error!r}")
            connection.close()
    connection.close()


class Share:
    """The clients of one process: the address of the server, where they may write, and where they report what they did."""

    def __init__(self, address, directory, seed, pace, queue):
        self.server = Neighbour(*address)
        self.directory, self.seed, self.pace, self.queue = directory, seed, pace, queue

    def tell(self, *message):
        self.queue.put(message)

    def run_mixed(self, numbers):
        targets = [socketserver.ThreadingTCPServer(("127.0.0.1", 0), Target) for _ in range(3)]
        for target in targets:
            threading.Thread(target=target.serve_forever, daemon=True).start()

        def live(number):
            directory = self.directory / str(number)
            (directory / "files").mkdir(parents=True)
            client = Client(self.server, directory, number)
            client.targets = [target.server_address[1] for target in targets]
            mixed(client, self.seed, self.pace, self.tell)

        self.together(live, numbers)

    def run_pingers(self, numbers):
        self.together(lambda number: pinger(self.server, self.seed, number, self.pace, self.tell), numbers)

    def together(self, function, numbers):
        threads = [threading.Thread(target=function, args=(number,), daemon=True) for number in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def mixed_process(numbers, *share):
    """The main function of a process of mixed clients."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    Share(*share).run_mixed(numbers)


def pinging_process(numbers, *share):
    """The main function of a process of clients that are timed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Share(*share).run_pingers(numbers)
