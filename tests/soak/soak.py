"""
The soak: a server under the steady load of many clients (load.py), looked at from outside all the while (sampler.py), and
the verdict (verdict.py): it holds no more at the end than after the warm-up, is as quick as it was, and gave no answer
that it should not have given.
"""

import collections
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time
import types

import load
import verdict
from driver import sample
from sampler import DAEMONS, HELD, MEMORY, Sampler, Table
from sandbox import DEADLINE, Server, in_threads

PINGERS, PINGS = 8, 8      # clients that are timed, and how many `/run true` a second each asks for
MIXED, OPERATIONS = 24, 1  # the others, and how many operations a second each begins
START = 3                  # seconds that Python needs until they are there
PROCESSES = 3              # of the others: Python runs one thread of a process at a time

# Few enough jobs that the registry is full, and forgets one for each that ends, before the warm-up is over. The size of a
# log is such that some of them rotate (load.LONG_LOG), and none of those in which every line is checked.
SETTINGS = {"SANDBOX_KEEP_FINISHED": "300", "SANDBOX_LOG_MAX": "4m"}

# What may come on top of the floor of a series. Memory in KiB: what the allocator keeps of another mix of sizes, and as much as
# a few large buffers; of what has a few hundred KiB and no such buffers, less. The rest: what a few more requests or jobs
# at the same time hold. The size of the run directory is that of the logs of the last jobs, a random sum; its number of
# entries is not.
SLACK = {
    "memory": verdict.Slack(0.05, 1024),
    "small memory": verdict.Slack(0.05, 128),
    "descriptors": verdict.Slack(0.05, 16),
    "threads": verdict.Slack(0.05, 8),
    "processes": verdict.Slack(0.05, 4),
    "zombies": verdict.Slack(0, 1),
    "disk": verdict.Slack(0.25, 8192),
    "entries": verdict.Slack(0.05, 50),
}

SHOWN, KEPT = 5, 1000  # failures that are printed, and that are written down

PICTURE = pathlib.Path(__file__).with_name("picture.gp")


class Tally:
    """The reports of the clients."""

    def __init__(self):
        self.pings, self.done = [], collections.Counter()
        self.failed, self.failures = 0, []
        self.queue = multiprocessing.get_context("spawn").SimpleQueue()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while message := self.queue.get():
            kind, what = message
            if kind == "ping":
                self.pings.append(what)
            elif kind == "done":
                self.done[what] += 1
            else:
                self.failed += 1
                self.failures += [what] if len(self.failures) < KEPT else []

    def close(self):
        self.queue.put(None)
        self.thread.join()


class Soak:
    """One run of `seconds`; its files go to `directory`."""

    def __init__(self, seconds, directory, seed, rate=1.0, out=lambda text: None):
        self.seconds, self.directory, self.seed, self.rate, self.out = seconds, pathlib.Path(directory), seed, rate, out
        self.window = verdict.window(seconds)
        self.findings, self.faults = [], []
        self.begin = self.tally = self.sampler = self.latency = None

    def run(self):
        """True when all is well. `out` gets every line, and the directory keeps them."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in ("failures.txt", "soak.svg"):  # which are not always made
            (self.directory / name).unlink(missing_ok=True)
        home = pathlib.Path(tempfile.mkdtemp(prefix="nxs-soak-"))
        home.chmod(0o755)
        server = Server({**SETTINGS, "SANDBOX_ACCESS_LOG": str(home / "access.log")})
        try:
            self.serve(server, home)
            server.stop(deadline=12 * DEADLINE)
        except AssertionError as error:
            self.faults.append(str(error))
        finally:
            (self.directory / "server.log").write_text(server.launch.stderr.text)
            server.close(check=False)
            shutil.rmtree(home, ignore_errors=True)
        return self.judge()

    def serve(self, server, home):
        """The load on a server, from its start to when it has gone quiet again."""
        world = types.SimpleNamespace(server=server)
        fresh = sample(world)
        daemons = self.daemons(server)
        self.burst(server, home)
        self.tally = Tally()
        self.begin = time.monotonic() + START
        processes = self.start_load(server, home)
        time.sleep(START)
        intervals = min(2, self.window / 20), min(5, self.window / 10)
        self.sampler = Sampler(server, home / "access.log", self.directory, self.begin, *intervals)
        self.sampler.start()
        try:
            self.watch(processes)
            for process in processes:
                process.join(30 * DEADLINE)
        finally:
            for process in processes:
                if process.is_alive():
                    self.faults.append("a client does not come to its end")
                    process.kill()
            self.tally.close()
            self.sampler.finish()
        if any(process.exitcode for process in processes):
            self.faults.append("a process of the load has failed")
        if self.daemons(server) != daemons:
            self.faults.append(f"daemons have died: {daemons}, {self.daemons(server)}")
        self.out(f"fresh: {fresh}\nquiet: {sample(world, fresh)}")  # or an assertion fails

    def burst(self, server, home):
        """
        All clients at the same time, which comes about later only by chance: the allocators of fcgi-app and nginx keep what the
        most large bodies at the same time took.
        """
        def write_and_read(number):
            path, content = str(home / f"burst.{number}"), "x" * max(load.CONTENTS)
            assert server.post("/write_file", path=path, content=content).json() == {"success": True}
            assert server.post("/read_file", path=path).json() == {"content": content}

        in_threads(PINGERS + MIXED, lambda _: server.run("sleep 1"))
        for _ in range(3):
            in_threads(PINGERS + MIXED, write_and_read)

    def daemons(self, server):
        return {**{name: server.daemon(name) for name in ("fcgi-app", "procd")}, "nginx": sorted(server.nginx_pids())}

    def start_load(self, server, home):
        """The processes of the clients, which begin together."""
        context = multiprocessing.get_context("spawn")
        address = (server.url, (server.proxy_host, server.proxy_port), server.secret)
        clients = home / "clients"

        def share(function, numbers, rate):
            pace = load.Pace(rate * self.rate, self.begin, self.begin + self.seconds)
            process = context.Process(target=function, args=(numbers, address, clients, self.seed, pace, self.tally.queue), daemon=True)
            process.start()
            return process

        processes = [share(load.pinging_process, range(PINGERS), PINGS)]
        processes += [share(load.mixed_process, range(number, MIXED, PROCESSES), OPERATIONS) for number in range(PROCESSES)]
        return processes

    def watch(self, processes):
        """Waits for the end, also that of a process before its time, and reports the state every minute."""
        told = shown = 0
        while (passed := time.monotonic() - self.begin) < self.seconds and all(process.is_alive() for process in processes):
            time.sleep(min(1, self.seconds - passed))
            for failure in self.tally.failures[shown:SHOWN]:
                self.out(f"FAILED: {failure}")
                shown += 1
            if passed >= told + 60:
                told = passed
                last = [ms for when, ms in self.tally.pings[-10000:] if when - self.begin > passed - 60]
                self.out(f"{passed / 60:4.0f} min: {sum(self.tally.done.values())} operations, {self.tally.failed} failures, "
                         f"/run true median {verdict.percentile(last, 50) or 0:.1f} ms, p99 {verdict.percentile(last, 99) or 0:.1f} ms")

    # -- the verdict --

    def judge(self):
        """Prints and keeps the verdict, and draws the picture."""
        if self.sampler:
            self.summarize_latency()
            self.compare()
            self.draw()
        if self.tally and self.tally.failed:
            self.faults.append(f"{self.tally.failed} operations failed, see {self.directory}/failures.txt")
            (self.directory / "failures.txt").write_text("\n".join(self.tally.failures))
        text = self.report()
        (self.directory / "verdict.txt").write_text(text + "\n")
        self.out(text)
        return not self.faults

    def summarize_latency(self):
        """A row for each ten seconds of a long run."""
        length = min(10, self.window / 10)
        buckets = collections.defaultdict(list)
        for when, ms in self.pings():
            buckets[int(when / length)].append(ms)
        self.latency = Table(self.directory / "latency.csv", ("p50", "p99", "count"))
        for number, values in sorted(buckets.items()):
            percentiles = {f"p{percent}": verdict.percentile(values, percent) for percent in (50, 99)}
            self.latency.add((number + 0.5) * length, {**percentiles, "count": len(values)})

    def pings(self):
        return [(when - self.begin, ms) for when, ms in self.tally.pings]

    def compare(self):
        def grown(table, column, slack, unit=""):
            self.findings.append(verdict.growth(column.replace(".", " ") + unit, table.series(column), self.seconds, SLACK[slack]))

        held, memory = self.sampler.held, self.sampler.memory
        for group in DAEMONS:
            of_one = "a runner" if group == "runners" else group  # there are more or fewer of them
            slack = "memory" if group in ("fcgi-app", "nginx") else "small memory"
            for what in MEMORY:
                grown(memory, f"{of_one}.{what}", slack, " KiB")
            for what in HELD:
                grown(held, f"{group}.{what}", what)
        grown(held, "supervisor.processes", "processes")
        grown(held, "commands.processes", "processes")
        grown(held, "zombies", "zombies")
        grown(held, "disk", "disk", " KiB")
        grown(held, "entries", "entries", " on disk")
        self.findings.append(verdict.slowing("p99 of /run true, ms", self.pings(), self.seconds))
        self.faults += [f"{finding.name} is not what it was" for finding in self.findings if not finding.holds]
        if any(count for _, count in self.sampler.traffic.series("5xx")):
            self.faults.append("there were answers of 5xx")

    def heading(self):
        clients = f"{PINGERS} of {PINGS * self.rate:g} /run true a second, {MIXED} of {OPERATIONS * self.rate:g} mixed operations a second"
        settings = ", ".join(f"{name}={value}" for name, value in SETTINGS.items())
        return f"{self.seconds / 60:.3g} minutes, {PINGERS + MIXED} clients ({clients}), {os.cpu_count()} processors; {settings}, seed {self.seed}"

    def draw(self):
        if not shutil.which("gnuplot"):
            self.out("no picture: there is no gnuplot")
            return
        heading = self.heading().replace("; ", "\\n") + ". Shaded: what the verdict compares"
        values = f"dir = '{self.directory}'; window = {self.window}; duration = {self.seconds}; heading = \"{heading}\""
        subprocess.run(["gnuplot", "-e", values, PICTURE], check=True)
        self.out(f"the picture: {self.directory}/soak.svg")

    def report(self):
        """The verdict as text: a row for each measure, then what is wrong."""
        def number(value):
            return "-" if value is None else f"{value:,.1f}"

        rows = [self.heading(), "", f"{'':26}{'before':>14}{'at the end':>14}{'at most':>14}"]
        rows += [f"{finding.name:26}{number(finding.first):>14}{number(finding.last):>14}{number(finding.limit):>14}"
                 f"{'' if finding.holds else '   <--'}" for finding in self.findings]
        rows += [f"(windows of {self.window:g} s: the one after a warm-up of as long, of the p99 the first, and the last)", ""]
        if self.sampler:
            busy = verdict.percentile([busy for _, busy in self.sampler.traffic.series("busy")], 50)
            rows += [f"{sum(self.tally.done.values())} operations, {len(self.tally.pings)} /run true; the machine was {busy:.0f} % busy (median)"]
        rows += [f"WRONG: {fault}" for fault in self.faults] or ["nothing grew, all answers were as they should be"]
        return "\n".join(rows)
