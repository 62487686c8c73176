"""
What a server holds, read from /proc and the file system while it works: Sampler writes a row for every look to CSV files.
Times are seconds since the beginning, memory is in KiB.
"""

import collections
import csv
import json
import os
import signal
import threading
import time

from sandbox import proc_file, proc_stat

# The daemons, and the other processes of a server. "commands" are what clients run: of them only the number is looked at.
DAEMONS = ("fcgi-app", "procd", "terminal", "runners", "guard", "nginx")
GROUPS = (*DAEMONS, "supervisor", "commands")
HELD = ("descriptors", "threads", "processes")
MEMORY = ("rss", "pss", "dirty")
STATUSES = ("2xx", "4xx", "499", "5xx")  # 499 is nginx's for a client that has hung up

MEMORY_LINES = {b"Rss:": "rss", b"Pss:": "pss", b"Private_Dirty:": "dirty"}


def group_of(pid):
    """Which of GROUPS a process of the server belongs to."""
    line = proc_file(pid, "cmdline")
    name, _, rest = line.partition(b"\0")
    if line.startswith(b"nginx: "):
        return "nginx"
    if name == b"procd" and rest.startswith(b"--runner\0"):
        return "runners"
    name = os.path.basename(name).decode(errors="replace")
    if name in ("fcgi-app", "procd", "terminal", "guard") and rest.startswith(b"-r\0"):
        return name
    return "supervisor" if name.startswith(("s6-", "nginx-sandbox")) else "commands"


def memory_of(pid):
    """{"rss": KiB, ...} of a process; nothing when it is gone."""
    fields = (line.split() for line in proc_file(pid, "smaps_rollup").splitlines()[1:])
    return {MEMORY_LINES[name]: int(size) for name, size, *_ in fields if name in MEMORY_LINES}


def held_by(pid):
    """(descriptors, threads) of a process; of one that is gone none."""
    stat = proc_file(pid, "stat")
    try:
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        descriptors = 0
    return descriptors, int(stat[stat.rindex(b")") + 2:].split()[17]) if stat else 0


def disk_of(directory):
    """(KiB on disk, entries) of a directory in which files come and go."""
    blocks = entries = 0
    for path, directories, files in os.walk(directory):
        for name in (*directories, *files):
            try:
                blocks += os.lstat(os.path.join(path, name)).st_blocks
            except OSError:
                continue
            entries += 1
    return blocks // 2, entries


def kind_of(status):
    """Which of STATUSES it is; the server redirects nowhere."""
    return "499" if status == 499 else "2xx" if status < 400 else "4xx" if status < 500 else "5xx"


class Processor:
    """How busy the machine is, with all that runs on it."""

    def __init__(self):
        self.last = self.times()

    @staticmethod
    def times():
        """(busy, all) ticks since the machine was started."""
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(text) for text in file.readline().split()[1:9]]
        return sum(ticks) - ticks[3] - ticks[4], sum(ticks)

    def busy(self):
        """Percent of all processors since the last call."""
        last, self.last = self.last, self.times()
        busy, ticks = (now - before for now, before in zip(self.last, last))
        return 100 * busy / ticks if ticks else 0


class AccessLog:
    """
    The answers that nginx has logged. The log is rotated by the book while it is read, a new file each MiB: rename(2),
    then USR1 to the master. What workers still write to the old one is read at the next look.
    """

    def __init__(self, server, path):
        self.server, self.path = server, path
        self.files = [open(path, "rb")]
        self.renamed = False

    def lines(self):
        rotating = len(self.files) == 2
        if self.renamed and self.path.exists():
            self.files.append(open(self.path, "rb"))
            self.renamed = False
        for file in self.files:
            data = file.read()
            whole = data.rfind(b"\n") + 1
            file.seek(whole - len(data), os.SEEK_CUR)
            yield from data[:whole].splitlines()
        if rotating:
            self.files.pop(0).close()
        elif len(self.files) == 1 and not self.renamed and self.files[0].tell() > 1 << 20:
            self.path.rename(self.path.with_suffix(".1"))
            os.kill(self.server.daemon("nginx"), signal.SIGUSR1)
            self.renamed = True

    def statuses(self):
        """How many answers of each of STATUSES since the last call."""
        counts = dict.fromkeys(STATUSES, 0)
        for line in self.lines():
            counts[kind_of(json.loads(line)["status"])] += 1
        return counts


class Table:
    """A CSV file with named columns, and the same in memory."""

    def __init__(self, path, columns):
        self.columns = ("seconds", *columns)
        self.rows = []
        self.file = open(path, "w", encoding="ascii", newline="")
        self.writer = csv.DictWriter(self.file, self.columns)
        self.writer.writeheader()

    def add(self, seconds, values):
        row = {"seconds": round(seconds, 2), **{name: round(values[name], 3) for name in self.columns[1:]}}
        self.rows.append(tuple(row.values()))
        self.writer.writerow(row)
        self.file.flush()

    def series(self, column):
        """[(seconds, value), ...]"""
        index = self.columns.index(column)
        return [(row[0], row[index]) for row in self.rows]


class Sampler(threading.Thread):
    """
    Looks at the server, since `begin` on the clock of time.monotonic, every `interval` seconds, and at its memory every `memory_interval`, as counting the pages of a
    process holds it up for a moment.
    """

    def __init__(self, server, access_log, directory, begin, interval, memory_interval):
        super().__init__(daemon=True)
        self.server, self.begin, self.interval, self.memory_interval = server, begin, interval, memory_interval
        self.held = Table(directory / "held.csv", [f"{group}.{what}" for group in GROUPS for what in HELD] + ["zombies", "disk", "entries"])
        self.memory = Table(directory / "memory.csv", [f"{group}.{what}" for group in (*DAEMONS, "a runner") for what in MEMORY])
        self.traffic = Table(directory / "traffic.csv", [*STATUSES, "busy"])
        self.processor, self.log = Processor(), AccessLog(server, access_log)
        self.ending = threading.Event()
        self.error = None

    def run(self):
        last = next_memory = time.monotonic()
        try:
            while not self.ending.wait(max(last + self.interval - time.monotonic(), 0)):
                now = time.monotonic()
                groups = self.look(now - self.begin)
                self.look_at_traffic(now - self.begin, now - last)
                if now >= next_memory:
                    self.look_at_memory(now - self.begin, groups)
                    next_memory = now + self.memory_interval
                last = now
        except Exception as error:  # told by finish(), in the main thread
            self.error = error

    def look(self, seconds):
        """One row of `held`; {group: [pid, ...]}."""
        groups = collections.defaultdict(list)
        values = collections.Counter()
        for pid in self.server.launch.tree():
            groups[group := group_of(pid)].append(pid)
            descriptors, threads = held_by(pid)
            values[f"{group}.descriptors"] += descriptors
            values[f"{group}.threads"] += threads
            values[f"{group}.processes"] += 1
            values["zombies"] += (proc_stat(pid) or "?")[0] == "Z"
        values["disk"], values["entries"] = disk_of(self.server.run_dir)
        self.held.add(seconds, values)
        return groups

    def look_at_memory(self, seconds, groups):
        values = collections.Counter()
        for group in DAEMONS:
            for pid in groups[group]:
                for name, size in memory_of(pid).items():
                    values[f"{group}.{name}"] += size
        for name in MEMORY:
            values[f"a runner.{name}"] = values[f"runners.{name}"] / max(len(groups["runners"]), 1)
        self.memory.add(seconds, values)

    def look_at_traffic(self, seconds, passed):
        """Answers a second, and how busy the machine is."""
        values = {name: count / passed for name, count in self.log.statuses().items()}
        self.traffic.add(seconds, {**values, "busy": self.processor.busy()})

    def finish(self):
        self.ending.set()
        self.join()
        if self.error:
            raise self.error
