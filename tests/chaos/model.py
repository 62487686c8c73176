"""
What must hold, whatever dies: the jobs, commands, files and the binding as the client knows them.

An answer makes the model sure (201: there is such a job; 503: nothing was done); an answer that was lost leaves both
open ("it may have been done"). Every contradiction is a Violation. Thread-safe.
"""

import contextlib
import re
import threading
import time
import uuid

TAG = re.compile(r": (86400\.\d{15});")

# After the last daemon answers again a connection from before may still turn out to be dead.
SLACK = 1.0


class Violation(AssertionError):
    """The server broke a promise."""


class Skipped(Exception):
    """There is nothing now that the operation could be done to."""


def new_tag():
    """A number that is in no other command line on the machine, in the form of a very long sleep."""
    return f"86400.{uuid.uuid4().int % 10**15:015d}"


class Weather:
    """Which daemons were being struck when: the only excuse for a request that fails."""

    def __init__(self):
        self.lock = threading.Condition()
        self.storms = []  # [set of names, begin, end or None]

    @contextlib.contextmanager
    def storm(self, *names):
        """From the first signal until all is well again."""
        entry = [set(names), time.monotonic(), None]
        with self.lock:
            self.storms.append(entry)
        try:
            yield
        finally:
            with self.lock:
                entry[2] = time.monotonic()
                self.lock.notify_all()

    def excuses(self, since, *names):
        """Was one of the daemons (any, if none is named) struck or away at some time after `since`?"""
        with self.lock:
            return any((not names or struck.intersection(names)) and (end is None or end + SLACK >= since)
                       for struck, _, end in self.storms)

    def calm(self, deadline):
        """Waits until nothing is away."""
        with self.lock:
            if not self.lock.wait_for(lambda: all(end for _, _, end in self.storms), deadline):
                raise Violation(f"not healed within {deadline} s: {self.storms[-1][0]}")


class Once:
    """Something that appends one line to a file of its own each time it runs."""

    def __init__(self, directory):
        self.tag = new_tag()
        self.path = directory / self.tag
        self.known = "maybe"  # or "done", or "not"
        self.may_die_early = False  # before it could write

    def mark(self):
        """The shell command that leaves the line, and carries the tag in every command line that comes of it."""
        return f": {self.tag}; echo x >>{self.path}; "

    def times(self):
        try:
            return self.path.read_text().count("x")
        except FileNotFoundError:
            return 0

    def check(self):
        times = self.times()
        if times > 1 or (times == 1 and self.known == "not") or (times == 0 and self.known == "done" and not self.may_die_early):
            raise Violation(f"{self}: ran {times} times, known as {self.known}")

    def __str__(self):
        return self.tag


class Job(Once):
    """
    A background process. `count` lines are printed to each of `streams`; None is: until it is killed. Left alone it
    ends with `code`, -1 after a signal, for `reason`.
    """

    def __init__(self, directory, kind, count, streams=("stdout",), padding="", code=0, reason="exit"):
        super().__init__(directory)
        self.kind, self.count, self.streams, self.padding, self.code, self.reason = kind, count, streams, padding, code, reason
        self.progress = directory / f"{self.tag}.progress"  # of a ticker: the number of each line that it has printed
        self.lock = threading.RLock()
        self.id = self.pid = None
        self.asked = self.acknowledged = None  # when the start was sent, and when it was answered
        self.pending_kills = self.possible_kills = self.kills = 0
        self.signals = 0       # signals other than kills that were or may have been sent
        self.final = None      # the status it was first seen to have ended with
        self.ended = None      # when that was known
        self.events = []       # the log, as the first reader of each event saw it
        self.seen = {"stdout": 0, "stderr": 0}
        self.total = None      # how many lines the log has, known from a `complete`
        self.users = 0         # operations and followers that have to do with it
        self.deleting = False  # its deletion was asked for
        self.runner_killed = False
        self.input = []        # of a job that reads: [text of a line, known as Once.known]
        self.sizes = {(80, 24)}  # of a terminal: those that it may have
        self.has_lines = kind != "terminal"
        self.writing = threading.Lock()

    def __str__(self):
        return f"{self.kind} {self.tag[-6:]} ({self.id})"

    def wrong(self, what):
        raise Violation(f"job {self}: {what}; final {self.final}, kills {self.kills}+{self.possible_kills}+{self.pending_kills}, "
                        f"signals {self.signals}, lines seen {len(self.events)} of {self.count}, total {self.total}")

    # -- its end --

    @contextlib.contextmanager
    def being_killed(self):
        """Around the request; call killed() inside when it was answered so, and set possible_kills when that is open."""
        with self.lock:
            self.pending_kills += 1
            self.may_die_early = True
        try:
            yield
        finally:
            with self.lock:
                self.pending_kills -= 1

    def killed(self):
        with self.lock:
            self.kills += 1
            if self.kills > 1:
                self.wrong("killed twice")
            self.observe("killed", time.monotonic())

    def disturbed(self):
        """May it have ended otherwise than by itself?"""
        return bool(self.pending_kills or self.possible_kills or self.kills or self.signals or self.runner_killed)

    def possible_ends(self):
        with self.lock:
            if self.runner_killed:
                return {"completed", "failed", "killed"}
            if self.kills:
                return {"killed"}
            natural = set() if self.count is None else {"completed" if self.code == 0 else "failed"}
            maybe = {"killed"} if self.pending_kills or self.possible_kills else set()
            return natural | maybe | ({"completed", "failed", "killed"} if self.signals else set())

    def observe(self, status, asked):
        """The server says this in an answer to a request sent at `asked`."""
        with self.lock:
            if status == "running":
                if self.ended is not None and self.ended < asked:
                    self.wrong("running again")
                return
            if status not in self.possible_ends() or self.final not in (None, status):
                self.wrong(f"status {status}, possible are {self.possible_ends()}")
            self.final = status
            self.ended = self.ended or time.monotonic()

    def observe_entry(self, entry, asked):
        """The same of what lists show of it."""
        if self.pid is not None and entry["pid"] != self.pid:
            self.wrong(f"pid {entry['pid']} was {self.pid}")
        self.observe(entry["status"], asked)
        if entry.get("lines_dropped"):
            self.wrong(f"dropped lines: {entry}")
        if entry["status"] == "running" or "reason" not in entry:
            return
        if self.kills and entry["reason"] != "killed":
            self.wrong(f"killed, and the reason is {entry['reason']}")
        if not self.disturbed() and (entry["exit_code"], entry["reason"]) != (self.code, self.reason):
            self.wrong(f"ended with {entry}, not with {self.code} for {self.reason}")

    # -- its log --

    def see(self, position, event):
        """Some reader got this log event as its `position`th from the beginning."""
        fact = (event.id, event.data["timestamp"], event.data["stream"], event.data["data"])
        with self.lock:
            if position < len(self.events):
                if fact != self.events[position]:
                    self.wrong(f"line {position} is {fact!r:.200}, others saw {self.events[position]!r:.200}")
                return
            if self.total is not None:
                self.wrong(f"a line after the end: {fact!r:.200}")
            stream = fact[2]
            self.seen[stream] += 1
            number, _, rest = fact[3].partition(" ")
            known = rest == self.padding if self.kind != "reader" else rest in [text for text, _ in self.input]
            if stream not in self.streams or number != str(self.seen[stream]) or not known:
                self.wrong(f"{stream} line {self.seen[stream]} is {fact[3]!r:.200}")
            self.events.append(fact)

    def completed(self, position):
        """A reader saw that the log ends after `position` lines."""
        with self.lock:
            if self.total not in (None, position) or position != len(self.events):
                self.wrong(f"a log of {position} lines")
            self.total = position
            self.ended = self.ended or time.monotonic()
            expected = None if self.count is None else self.count * len(self.streams)
            if not self.disturbed() and position != expected:
                self.wrong(f"ended after {position} lines of {expected}")

    def check_end(self):
        """All is quiet: it has ended, its whole log was read, and that is what it printed."""
        self.check()
        if self.final not in self.possible_ends() or self.total is None:
            self.wrong("not ended")
        if self.kind == "ticker" and not self.runner_killed:
            lines = self.progress.read_text().splitlines(True) if self.progress.exists() else []
            printed = sum(line.endswith("\n") for line in lines)  # each was written after the line itself
            if not printed <= self.total <= printed + 1:
                self.wrong(f"printed {printed} lines, the log has {self.total}")
        if self.kind in ("reader", "terminal"):
            self.check_input()

    def check_input(self):
        """What was acknowledged was read, in its order; what may have been written at most once."""
        echoed = [fact[3].partition(" ")[2] for fact in self.events]
        written = [text for text, _ in self.input]
        if [text for text in written if text in echoed] != echoed or len(set(echoed)) != len(echoed):
            self.wrong(f"the input came out as {echoed!r:.300}")
        missing = [text for text, known in self.input if known == "done" and text not in echoed]
        if missing and not (self.kills or self.possible_kills or self.runner_killed):
            self.wrong(f"acknowledged input is lost: {missing!r:.300}")


class TextFile:
    """A file that is written again and again: whole contents that it may have."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.possible = {None}  # None: not there

    def check(self, content):
        if content not in self.possible:
            raise Violation(f"{self.path}: {content!r:.60} is none of {[repr(text)[:20] for text in self.possible]}")


class Binding:
    """The port behind PROXY_PORT. A client that changes or tries it holds the lock."""

    def __init__(self):
        self.lock = threading.Lock()
        self.possible = {None}  # None: unbound

    def race(self, outcomes):
        """Binds at the same time: [(port, "won"), (port, the current port in its refusal), (port, None: may be) ...]."""
        won = {port for port, outcome in outcomes if outcome == "won"}
        maybe = {port for port, outcome in outcomes if outcome is None}
        current = {outcome for _, outcome in outcomes if outcome not in (None, "won")}
        before = set(self.possible)
        if len([1 for _, outcome in outcomes if outcome == "won"]) > 1 or (won and None not in before):
            raise Violation(f"bound {before}, binds answered {outcomes}")
        if len(current) > 1 or (current and not current <= (won or (before | maybe) - {None})):
            raise Violation(f"bound {before}, binds answered {outcomes}")
        self.possible = won or current or (before | maybe if None in before else before)


class Model:
    def __init__(self, directory):
        self.lock = threading.RLock()
        self.directory = directory
        self.jobs = []       # of this round, in the order in which they were asked for
        self.retired = {}    # id: Job, of earlier rounds: checked, and left in the list
        self.onces = []      # foreground commands
        self.by_tag = {}
        self.foreign = set()  # ids of jobs that were there before
        self.files = [TextFile(directory / f"file-{number}") for number in range(3)]
        self.binding = Binding()

    def add(self, once):
        with self.lock:
            (self.jobs if isinstance(once, Job) else self.onces).append(once)
            self.by_tag[once.tag] = once
        return once

    @contextlib.contextmanager
    def pick(self, rng, wanted=lambda job: True, delete=False):
        """One of the acknowledged jobs of this round, not to be deleted meanwhile but by the caller."""
        fraction = rng.random()
        with self.lock:
            jobs = [job for job in self.jobs if job.id and not job.deleting and not (delete and job.users) and wanted(job)]
            job = jobs[int(fraction * len(jobs))] if jobs else None
            if job:
                job.users += 1
                job.deleting = delete
        if job is None:
            raise Skipped
        try:
            yield job
        finally:
            self.release(job)

    def release(self, job):
        with self.lock:
            job.users -= 1

    def running(self):
        with self.lock:
            return [job for job in self.jobs if job.known != "not" and job.ended is None]

    def check_list(self, entries, asked):
        """GET /list_processes, asked at that time, answered `entries`."""
        entries = [entry for entry in entries if entry["id"] not in self.foreign]
        listed = {entry["id"]: entry for entry in entries}
        if len(listed) != len(entries):
            raise Violation("a process is listed twice")
        with self.lock:
            jobs, retired = list(self.jobs), dict(self.retired)
        finished = sum(entry["status"] != "running" for entry in entries)
        for job in [*jobs, *retired.values()]:
            if not job.acknowledged or job.acknowledged > asked:
                continue
            if job.id in listed:
                job.observe_entry(listed[job.id], asked)
            elif not job.deleting and not (job.ended and finished >= 1000):
                job.wrong("not listed")
        latest = None  # "oldest first": no job stands behind one that was asked for after its answer
        for entry in entries:
            tag = TAG.search(entry["command"])
            job = self.by_tag.get(tag.group(1)) if tag else None
            if job is None:
                raise Violation(f"listed, but nobody started it: {entry!r:.300}")
            if job.known == "not":
                job.wrong("listed, but its start was refused")
            if latest and job.acknowledged and job.acknowledged < latest.asked:
                job.wrong(f"listed behind {latest}")
            if latest is None or job.asked > latest.asked:
                latest = job

    def adopt(self, entries):
        """Nothing is in flight any more: starts whose answers were lost have happened, or never will."""
        by_tag = {}
        for entry in entries:
            tag = TAG.search(entry["command"])
            if tag and tag.group(1) in by_tag:
                raise Violation(f"started twice: {entry!r:.300}")
            if tag:
                by_tag[tag.group(1)] = entry
        for job in self.jobs:
            if job.known != "maybe":
                continue
            if job.tag in by_tag:
                job.pid, job.known, job.acknowledged = by_tag[job.tag]["pid"], "done", time.monotonic()
                job.id = by_tag[job.tag]["id"]
            else:
                job.check()
                job.known = "not" if job.times() == 0 else "maybe"
                if job.known == "maybe":
                    job.wrong("it ran, its start was not answered, and it is not listed")

    def retire(self):
        """The round is checked."""
        with self.lock:
            for job in self.jobs:
                if job.id and not job.deleting:
                    job.events, job.input = [], []
                    self.retired[job.id] = job
            self.jobs, self.onces = [], []
