"""
The driver: threads that do the operations of operations.py against a server of its own, in rounds. A round is a storm
(clients and disturbances), then quiet: all heals, all jobs end, and the whole model is checked. The last rounds are
calm, with clients and without disturbances, so that one can see whether anything grows.

The seed makes the *sequence*: operation number N of a seed is always the same one with the same random choices,
whether or not there was anything to do it to when its turn came ("skipped"). The timing of threads, processes and
signals is the machine's, so a seed repeats what is done and not how it falls together.
"""

import collections
import os
import pathlib
import random
import socketserver
import tempfile
import threading
import time
import traceback

import requests

from client import PATIENCE, ask
from model import Model, Skipped, Violation, Weather
from operations import DISTURBANCES, MOST_FOLLOWERS, OPERATIONS, gone, reload_nginx
from sandbox import DEADLINE, SANITIZED, EventStream, Server, alive, descriptors, proc_file, proc_stat, wait_until
from typed import read_whole

CLIENTS = 5
ROUND = 12  # seconds of storm
CALM = 3    # seconds of each of the two calm rounds

# What the daemons may hold more of than before: connections between them that are kept, threads that wait for the next
# request, and some memory.
KEPT = CLIENTS + MOST_FOLLOWERS
MEMORY = 8 << 20


class Sequence:
    """The operations of a seed, one after the other."""

    def __init__(self, seed, table):
        self.seed, self.table = seed, table
        self.rng = random.Random(f"{seed} {table[0].name}")
        self.weights = [operation.weight for operation in table]
        self.number = 0
        self.lock = threading.Lock()

    def next(self):
        """(number, operation, its own random generator)"""
        with self.lock:
            self.number += 1
            operation, = self.rng.choices(self.table, self.weights)
            return self.number, operation, random.Random(f"{self.seed} {operation.name} {self.number}")


class History:
    """What was done, when, and what came of it."""

    def __init__(self):
        self.begin = time.monotonic()
        self.lines = []
        self.counts = collections.Counter()
        self.lock = threading.Lock()

    def note(self, who, number, name, outcome, since):
        now = time.monotonic()
        with self.lock:
            self.counts[name, str(outcome)[:40]] += 1
            self.lines.append(f"{since - self.begin:8.3f} +{now - since:6.3f}  {who:9}  #{number:<5} {name}: {outcome}")

    def last(self, count=50):
        with self.lock:
            return "\n".join(self.lines[-count:])

    def summary(self):
        """One line for each operation: how often, and what came of it."""
        rows = collections.defaultdict(list)
        for (name, outcome), count in sorted(self.counts.items()):
            rows[name].append((outcome, count))
        order = [operation.name for operation in (*OPERATIONS, *DISTURBANCES)]
        return "\n".join(f"  {name:24}{sum(count for _, count in rows[name]):6}  "
                         + ", ".join(f"{outcome} {count}" for outcome, count in rows[name])
                         for name in sorted(rows, key=lambda name: order.index(name) if name in order else len(order)))


class Target(socketserver.BaseRequestHandler):
    """What listens behind the bindable ports: says which port it is."""

    def handle(self):
        self.request.sendall(str(self.server.server_address[1]).encode())


class World:
    """All that the operations need."""

    def __init__(self, server, directory, features=()):
        self.server = server
        self.model = Model(directory)
        self.weather = Weather()
        self.history = History()
        self.features = set(features)
        self.stop = threading.Event()    # no further operations
        self.failed = threading.Event()  # nor anything else
        self.failures = []
        self.threads = []                # of followers
        self.target_servers = [socketserver.ThreadingTCPServer(("127.0.0.1", 0), Target) for _ in range(3)]
        self.targets = [target.server_address[1] for target in self.target_servers]
        for target in self.target_servers:
            threading.Thread(target=target.serve_forever, daemon=True).start()

    def close(self):
        for target in self.target_servers:
            target.shutdown()
            target.server_close()

    def pause(self, seconds):
        """Not longer than until the end after a failure."""
        self.failed.wait(seconds)

    def attempt(self, who, number, name, action):
        """Does something, notes it, and catches what it finds."""
        since = time.monotonic()
        try:
            outcome = action()
        except Skipped:
            outcome = "skipped"
        except Exception as error:  # a thread's failure is the whole test's
            outcome = f"FAILED: {error!r:.1000}"
            self.failures.append(f"#{number} {name}:\n{traceback.format_exc()}")
            self.failed.set()
            self.stop.set()
        self.history.note(who, number, name, outcome, since)

    # -- followers --

    def send_off(self, follower):
        """Lets a follower run in a thread of its own."""
        with self.model.lock:
            follower.job.users += 1

        def run():
            self.attempt("follower", follower.job.tag[-4:], "a follower", follower.run)
            self.model.release(follower.job)

        self.threads = [thread for thread in self.threads if thread.is_alive()]
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()

    def followers(self):
        return sum(thread.is_alive() for thread in self.threads)

    # -- health --

    def healthy(self):
        def look():
            try:
                return self.server.get("/health", token=False, timeout=2, headers={"Connection": "close"}).status_code == 200
            except requests.RequestException:
                return False

        wait_until(look, "the server to be healthy", PATIENCE)


# ---- what the server has ----


def probe(server):
    """The names of the features that it has, found by using them."""
    found = set()
    job = server.start("printf '1\\n2\\n3\\n'; exit 4")["id"]
    with server.logs(job) as stream:
        events = stream.events()
    path = f"/process_logs_streaming?id={job}"

    def lines(query):
        with EventStream(server, "GET", path + query) as stream:
            return [event.data["data"] for event in stream if event.name == "log"]

    def answer(method, path, **fields):
        answer = server.call(method, path, fields or None)
        return answer.json() if answer.status_code == 200 else {}

    if lines("&tail=1") == ["3"]:
        found.add("tail")
    if lines(f"&cursor={events[1].id}") == ["3"]:
        found.add("cursor")
    if answer("GET", f"/get_process?id={job}"):
        found.add("get_process")
    if answer("POST", "/wait_process", id=job, timeout_ms=1):
        found.add("wait_process")
    if answer("POST", "/read_output", id=job):
        found.add("read_output")
    if answer("POST", "/run", cmd="cat", stdin="x").get("stdout") == "x":
        found.add("run stdin")
    if answer("POST", "/run", cmd="sleep 1", timeout_ms=50).get("code") != 0:
        found.add("timeout_ms")
    reader = server.start("read -r line; echo $line; sleep 60", stdin=True)["id"]
    if answer("POST", "/write_stdin", id=reader, data="x\n"):
        found.add("write_stdin")
    server.kill(reader)
    terminal = server.start("read -r line", pty={})["id"]
    if "pty" in answer("GET", f"/get_process?id={terminal}"):
        found.add("pty")
    server.kill(terminal)
    deaf = server.start("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done")["id"]
    with server.logs(deaf) as stream:
        stream.next()
    answer("POST", "/kill_process", id=deaf, signal="SIGTERM")
    if server.ended(deaf, PATIENCE) == "failed":
        found.add("signal")
    silent = server.start("echo 1; sleep 60")["id"]
    with EventStream(server, "GET", f"/process_logs_streaming?id={silent}&follow=0", timeout=DEADLINE / 2) as stream:
        try:
            stream.read_all()
            found.add("follow=0")
        except TimeoutError:
            pass
    server.kill(silent)
    if answer("POST", "/delete_process", id=job):
        found.add("delete_process")
        for other in (reader, terminal, deaf, silent):
            answer("POST", "/delete_process", id=other)
    return found


# ---- rounds ----


def work(world, sequence, who, until, rest):
    """Does one operation after the other until it is time; pauses up to `rest` seconds in between."""
    while not world.stop.is_set() and time.monotonic() < until:
        number, operation, rng = sequence.next()
        pause = rng.uniform(0, rest)

        def action(operation=operation, rng=rng):
            if not operation.ready(world):
                raise Skipped
            return operation.action(world, rng)

        world.attempt(who, number, operation.name, action)
        world.stop.wait(min(pause, max(until - time.monotonic(), 0)))


def round_of(world, seconds, clients, disturbances=None):
    """Clients, and disturbances unless there are none; then quiet."""
    until = time.monotonic() + seconds
    workers = [threading.Thread(target=work, args=(world, clients, f"client {number}", until, 0.1)) for number in range(CLIENTS)]
    if disturbances:
        workers.append(threading.Thread(target=work, args=(world, disturbances, "disturber", until, 1.5)))
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    world.attempt("driver", 0, "quiet", lambda: quiet(world))
    if world.failed.is_set():
        raise Violation("\n".join(world.failures))


def call(world, method, path, **fields):
    """A request in calm weather, where none may fail."""
    answer = ask(world, method, path, fields or None)
    if not answer.certain:
        raise Violation(f"{path}: {answer}")
    return answer


def listed(world):
    return call(world, "GET", "/list_processes?full=1").body["processes"]


def quiet(world):
    """All heals, all jobs end; then everything that can be known is checked."""
    if world.failed.is_set():
        return "given up"
    world.healthy()
    world.pause(1)  # what a lost connection had asked for is done by now
    model = world.model
    model.adopt(listed(world))
    jobs = [job for job in model.jobs if job.id and not job.deleting]
    for job in jobs:
        end_job(world, job)
    for thread in world.threads:
        thread.join(PATIENCE)
        if thread.is_alive():
            raise Violation("a follower does not come to its end")
    for job in jobs:
        read_whole(world, job)
        job.check_end()
        gone(world, job, f"job {job}")
    model.check_list(listed(world), time.monotonic())
    for once in model.onces:
        once.check()
    if left := [once.tag for once in model.onces if world.server.find(once.tag)]:
        raise Violation(f"commands outlive their clients: {left}")
    for file in model.files:
        file.check(file.path.read_text() if file.path.exists() else None)
    if "delete_process" in world.features:
        for job in jobs:
            delete_job(world, job)
    count = len(jobs)
    model.retire()
    return f"{count} jobs are as they should be"


def end_job(world, job):
    """A reader reads its end of file, what would not end by itself is killed, the rest ends."""
    if job.kind in ("reader", "terminal") and job.ended is None and not job.disturbed():
        job.signals += 1
        call(world, "POST", "/write_stdin", id=job.id, data="", eof=True)
    elif job.count is None and job.ended is None:
        with job.being_killed():
            answer = call(world, "POST", "/kill_process", id=job.id)
            if answer.status == 200:
                job.killed()
    end = time.monotonic() + PATIENCE
    while job.final is None:
        asked = time.monotonic()
        world.model.check_list(listed(world), asked)
        if asked > end:
            job.wrong("does not end")
        world.pause(0.05)


def delete_job(world, job):
    with world.model.lock:
        job.deleting = True
    answer = call(world, "POST", "/delete_process", id=job.id)
    if answer.status != 200:
        job.wrong(f"its deletion is answered by {answer.status} {answer.body}")


# ---- growth ----


def pss(pid):
    """The memory of a process, its share of what others use, too."""
    for line in proc_file(pid, "smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) << 10
    return 0


class Sample:
    """What the daemons hold while nothing is going on."""

    def __init__(self, world):
        server = world.server
        self.pids = {name: server.daemon(name) for name in ("fcgi-app", "procd")}
        self.sockets, self.others, self.threads, self.memory = {}, {}, {}, {}
        for name, pid in self.pids.items():
            links = descriptors(pid)
            self.sockets[name] = sum(link.startswith("socket:") for link in links)
            self.others[name] = sorted(link for link in links if not link.startswith(("socket:", "pipe:")))
            self.threads[name] = len(os.listdir(f"/proc/{pid}/task"))
            self.memory[name] = pss(pid)
        self.runners = count_runners(server)

    def __str__(self):
        return "; ".join(f"{name}: {self.sockets[name]} sockets, {len(self.others[name])} other descriptors, {self.threads[name]} threads, "
                         f"{self.memory[name] >> 10} KiB" for name in self.pids) + f"; {self.runners} runners"


def count_runners(server):
    return sum(proc_file(pid, "cmdline").startswith(b"procd\0--runner\0") for pid in server.launch.tree())


def zombies(server):
    return [(pid, proc_file(proc_stat(pid)[1], "cmdline")) for pid in server.launch.tree() if (stat := proc_stat(pid)) and stat[0] == "Z"]


def drop_kept_connections(world):
    """nginx keeps connections to fcgi-app: they go with its old workers, and everything else should be gone."""
    server = world.server
    old = [pid for pid in server.nginx_pids() if pid != server.daemon("nginx")]
    reload_nginx(world, None)
    wait_until(lambda: not any(map(alive, old)), "the old workers to go, as no stream is open", PATIENCE)


def sample(world, fresh=None):
    """What is held now, compared with a server that has just started: no zombie, as many runners, no file that stays open."""
    drop_kept_connections(world)
    wait_until(lambda: not zombies(world.server), "zombies to be reaped", PATIENCE)
    if fresh is None:
        return Sample(world)
    wait_until(lambda: count_runners(world.server) <= fresh.runners, f"at most {fresh.runners} runners", PATIENCE)

    def settled():
        now = Sample(world)
        return now if all(now.others[name] == fresh.others[name] and now.threads[name] <= fresh.threads[name] + KEPT
                          and now.sockets[name] <= fresh.sockets[name] + KEPT for name in now.pids) else None

    try:
        return wait_until(settled, "no more descriptors and threads than of a fresh server", PATIENCE)
    except AssertionError as error:
        now = Sample(world)
        raise Violation(f"{error}\nfresh: {fresh}\n  {fresh.others}\nnow:   {now}\n  {now.others}") from None


def compare(before, after):
    """Two samples of the same processes, with calm work between them."""
    if before.pids != after.pids:
        raise Violation(f"a daemon died in calm weather: {before.pids}, {after.pids}")
    for name in before.pids:
        grown = after.memory[name] > before.memory[name] + MEMORY and not SANITIZED
        if grown or after.sockets[name] > before.sockets[name] + KEPT // 2:
            raise Violation(f"{name} grows:\n{before}\n{after}")


# ---- the whole ----


def chaos(seed, seconds, features=(), out=lambda text: None):
    """
    About `seconds` of storms and calm, and what is needed to check them. The history; AssertionError with all that
    helps to find the cause, and the run directory kept, where something does not hold.
    """
    server = Server()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="nxs-chaos-", dir=server.home))
    world = World(server, directory, features)
    failed = True
    try:
        end = time.monotonic() + seconds
        fresh = sample(world)
        world.features |= probe(server)
        out(f"features: {', '.join(sorted(world.features)) or 'none'}")
        world.model.foreign = {entry["id"] for entry in listed(world)}
        clients, disturbances = Sequence(seed, OPERATIONS), Sequence(seed, DISTURBANCES)
        while (left := end - 2 * CALM - time.monotonic()) > 1:
            round_of(world, min(left, ROUND), clients, disturbances)
            out(f"{time.monotonic() - world.history.begin:6.0f} s: {sample(world, fresh)}")
        samples = []
        for _ in range(2):
            round_of(world, CALM, clients)
            samples.append(sample(world, fresh))
        compare(*samples)
        out(f"after calm work: {samples[0]}\nand more of it:  {samples[1]}")
        server.stop(deadline=PATIENCE)
        failed = False
    except AssertionError as error:
        raise AssertionError(report(world, seed, error)) from None
    finally:
        world.stop.set()
        world.failed.set()
        world.close()
        server.close(check=False, keep=failed)
    return world.history


def report(world, seed, error):
    """What is known when something did not hold."""
    log = pathlib.Path(world.server.home, "chaos.log")
    log.write_text("\n".join(world.history.lines) + "\n")
    return (f"{error}\n\nseed {seed} (make chaos SEED={seed} repeats the operations); kept: {world.server.home}\n"
            f"---- the last operations (all in {log}) ----\n{world.history.last()}\n"
            f"---- standard error of the server ----\n{world.server.launch.stderr.text[-4000:]}")
