"""
The operations: what clients do (OPERATIONS) and what happens to the daemons (DISTURBANCES), one row each at the end of
the file. An action gets the world and a random generator of its own, draws all that it needs from that, tells the model
what the answers make certain, and returns its outcome in a few words.
"""

import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from typing import Callable, NamedTuple

import requests

import typed
from client import PATIENCE, Answer, Follower, ask, events_of, excused, judge, open_stream
from model import Job, Once, Skipped, Violation
from sandbox import RawConnection, alive, http_request, in_threads, proc_file, proc_stat, wait_until
from trees import DAEMON, TREES
from typed import read_whole

MOST_JOBS = 10       # that run at once
MOST_FOLLOWERS = 10  # at once


class Operation(NamedTuple):
    name: str
    weight: int
    ready: Callable   # of the world: may it be done now? Otherwise it is skipped
    action: Callable  # of the world and a random.Random


def always(_):
    return True


def feature(name, ready=always):
    return lambda world: name in world.features and ready(world)


def room_for_a_job(world):
    return len(world.model.running()) < MOST_JOBS


def a_job(world):
    return any(job.id for job in world.model.jobs)


def room_for_a_follower(world):
    return a_job(world) and world.followers() < MOST_FOLLOWERS


# ---- processes by their tag ----


def tagged(world, once):
    return world.server.find(once.tag)


def gone(world, once, what):
    """Whatever had the tag is gone, soon."""
    end = time.monotonic() + PATIENCE
    while found := tagged(world, once):
        if time.monotonic() > end:
            raise Violation(f"{what}: {found} outlive it")
        world.pause(0.05)


# ---- starting ----


def start(world, job, body, env=None, **fields):
    """Sends the start of `job`, whose command runs `body`, and records it in the model."""
    world.model.add(job)
    job.asked = time.monotonic()
    answer = ask(world, "POST", "/start_process", {"cmd": job.mark() + body, "env": env or {}, **fields})
    if answer.certain:
        if answer.status != 201 or answer.body["status"] != "running":
            job.wrong(f"its start is answered by {answer.status} {answer.body}")
        with job.lock:
            job.pid, job.known, job.acknowledged = answer.body["pid"], "done", time.monotonic()
            job.id = answer.body["id"]
    elif answer.refused:
        job.known = "not"
    return f"{answer}"


def start_burst(world, rng):
    """Prints many lines and ends by itself."""
    count, pause = rng.choice((0, 1, 10, 300, 3000)), rng.choice(("", "case $i in *50) sleep 0.1;; esac"))
    streams = rng.choice((("stdout",), ("stderr",), ("stdout", "stderr")))
    code = rng.choice((0, 0, 3, -1))
    job = Job(world.model.directory, "burst", count, streams, "x" * rng.choice((0, 0, 20, 300)), code, "exit" if code >= 0 else "signal")
    echo = "; ".join(f'echo "$i $PADDING"{">&2" if stream == "stderr" else ""}' for stream in streams)
    end = "kill -9 $$" if code < 0 else f"exit {code}"
    return start(world, job, f"i=0; while [ $i -lt {count} ]; do i=$((i + 1)); {echo}; {pause or ':'}; done; {end}", {"PADDING": job.padding})


def start_ticker(world, _):
    """Prints lines until it is killed, and writes down which it has printed."""
    job = Job(world.model.directory, "ticker", None)
    return start(world, job, f'i=0; while :; do i=$((i + 1)); echo "$i "; echo $i >>{job.progress}; sleep 0.1; done')


def start_tree(world, rng):
    """Silent processes that try to get away."""
    job = Job(world.model.directory, "tree", None)
    tree = TREES[rng.choice(sorted(TREES))][0]
    return start(world, job, tree.format(sleep=f"sleep {job.tag}"), {"DAEMON": DAEMON})


def start_timed(world, rng):
    """Silent processes whose time is over soon, whichever daemon may have died by then."""
    job = Job(world.model.directory, "timed", 0, code=-1, reason="timeout")
    job.may_die_early = True
    tree = TREES[rng.choice(sorted(TREES))][0].format(sleep=f"sleep {job.tag}")
    return start(world, job, "exec 2>/dev/null; " + tree, {"DAEMON": DAEMON}, timeout_ms=rng.choice((100, 1500)), kill_grace_ms=rng.choice((0, 200)))


def start_leaver(world, _):
    """Ends, and leaves a process that holds its output."""
    job = Job(world.model.directory, "leaver", 1)
    return start(world, job, f"echo '1 '; setsid sh -c ': {job.tag}; sleep 1; :' & exit 0")


def start_deaf(world, rng):
    """Ends in its own way at a SIGTERM, if only after a while."""
    job = Job(world.model.directory, "deaf", None)
    # A shell whose child dies of the signal says so.
    return start(world, job, f"exec 2>/dev/null; trap '{rng.choice(('exit 0', 'exit 5', ':'))}' TERM; while :; do sleep 0.2; done")


def start_reader(world, _):
    """Numbers the lines that it is sent."""
    job = Job(world.model.directory, "reader", None)
    body = 'n=0; while read -r line; do n=$((n + 1)); echo "$n $line"; done; exit 0'
    return start(world, job, body, stdin=True)


def start_terminal(world, _):
    """The same in a terminal."""
    job = Job(world.model.directory, "terminal", None)
    body = 'stty -echo; n=0; while read -r line; do n=$((n + 1)); echo "$n $line"; done; exit 0'
    return start(world, job, body, pty={})


# ---- the lives of jobs ----


def judge_kill(world, job, answer):
    """What the answer to a kill says about the job."""
    if answer.maybe:
        job.possible_kills += 1
    elif answer.certain and answer.status == 200:
        job.killed()
    elif answer.certain:
        judge_refusal(job, answer)


def judge_refusal(job, answer):
    """It was not done because the job has ended, and the answer says how."""
    status = answer.body["error"].partition("(status: ")[2].rstrip(")")
    if not status or status == "running":
        job.wrong(f"answered by {answer.status} {answer.body}")
    job.observe(status, time.monotonic())


def kill(world, rng):
    """Mostly one that runs, as far as is known."""
    any_of_them = rng.random() < 0.2
    with world.model.pick(rng, lambda job: any_of_them or job.ended is None) as job:
        with job.being_killed():
            answer = ask(world, "POST", "/kill_process", {"id": job.id})
            judge_kill(world, job, answer)
        if answer.status == 200 and (left := tagged(world, job)):
            job.wrong(f"killed, and {left} live on")
        return str(answer)


def kill_at_once(world, rng):
    """Several at the same time: one gets the answer that it did it."""
    with world.model.pick(rng, lambda job: job.ended is None) as job:
        with job.being_killed(), job.being_killed():
            answers = in_threads(2, lambda _: ask(world, "POST", "/kill_process", {"id": job.id}))
            for answer in answers:
                judge_kill(world, job, answer)
        return " ".join(sorted(map(str, answers)))


def send_signal(world, rng):
    with world.model.pick(rng, lambda job: job.kind in ("deaf", "ticker") and job.ended is None) as job:
        fields = rng.choice(({"signal": "SIGTERM"}, {"signal": "SIGTERM", "grace_ms": 300}))
        job.signals += 1
        job.may_die_early = True
        answer = ask(world, "POST", "/kill_process", {"id": job.id, **fields})
        if answer.certain and answer.status != 200:
            judge_refusal(job, answer)
        return str(answer)


def list_processes(world, _):
    asked = time.monotonic()
    answer = ask(world, "GET", "/list_processes?full=1")
    if answer.certain:
        if answer.status != 200:
            raise Violation(f"/list_processes: {answer.status} {answer.body}")
        world.model.check_list(answer.body["processes"], asked)
    return str(answer)


def entry_of(answer):
    """What an answer about one process says of it."""
    return answer.body.get("process", answer.body)


def get_process(world, rng):
    with world.model.pick(rng) as job:
        asked = time.monotonic()
        answer = ask(world, "GET", f"/get_process?id={job.id}")
        return judge_entry(job, answer, asked)


def wait_process(world, rng):
    with world.model.pick(rng) as job:
        asked = time.monotonic()
        answer = ask(world, "POST", "/wait_process", {"id": job.id, "timeout_ms": rng.choice((0, 100, 2000))})
        return judge_entry(job, answer, asked)


def judge_entry(job, answer, asked):
    if answer.certain:
        if answer.status != 200:
            job.wrong(f"answered by {answer.status} {answer.body}")
        job.observe_entry({"pid": job.pid, **entry_of(answer)}, asked)
    return str(answer)


def delete_process(world, rng):
    """An ended one that nobody reads. Its log is checked before."""
    with world.model.pick(rng, lambda job: job.ended is not None, delete=True) as job:
        read_whole(world, job)
        answer = ask(world, "POST", "/delete_process", {"id": job.id})
        if answer.certain and answer.status != 200:
            job.wrong(f"its deletion is answered by {answer.status} {answer.body}")
        if answer.refused:
            job.deleting = False
        if answer.certain:
            listed = ask(world, "GET", "/list_processes?full=1")
            if listed.certain and job.id in [entry["id"] for entry in listed.body["processes"]]:
                job.wrong("deleted, and listed")
        return str(answer)


def write_stdin(world, rng):
    with world.model.pick(rng, lambda job: job.kind in ("reader", "terminal") and job.ended is None and job.count is None) as job:
        if not job.writing.acquire(blocking=False):
            raise Skipped
        try:
            text = f"{job.tag}-{len(job.input)}"
            job.input.append([text, "maybe"])
            eof = rng.random() < 0.1
            if eof:
                job.signals += 1  # from here on it may end by itself
            answer = ask(world, "POST", "/write_stdin", {"id": job.id, "data": text + "\n", **({"eof": True} if eof else {})})
            if answer.certain and answer.status == 200:
                job.input[-1][1] = "done"
            elif answer.certain and not (job.ended or job.disturbed()):
                job.wrong(f"input is answered by {answer.status} {answer.body}")
            return str(answer)
        finally:
            job.writing.release()


# ---- reading logs ----


def follow(world, rng):
    """A follower that stays until the log is complete: this only sends it off."""
    with world.model.pick(rng, lambda job: job.has_lines) as job:
        follower = Follower(world, job, slow=rng.random() < 0.25, leave_after=rng.choice((0, 0, 0, 1, 7, 200)))
        follower.by_cursor = "cursor" in world.features and rng.random() < 0.5
        world.send_off(follower)
        return "sent off"


def follow_together(world, rng):
    """Several followers of one job, one of them slow."""
    with world.model.pick(rng, lambda job: job.has_lines) as job:
        for slow in (True, False, False):
            world.send_off(Follower(world, job, slow=slow))
        return "sent off"


def read_snapshot(world, rng):
    """?follow=0: what is there, from the beginning, and no waiting."""
    with world.model.pick(rng, lambda job: job.has_lines) as job:
        path = f"/process_logs_streaming?id={job.id}&follow=0"
        stream, answer = open_stream(world, "GET", path)
        if stream is None:
            return str(answer)
        position = 0
        with stream:
            for event in events_of(world, stream, path):
                if event.name == "log":
                    job.see(position, event)
                    position += 1
                elif event.name == "complete" and event.data.get("running"):
                    return "it runs"
                elif event.name == "complete":
                    job.completed(position)
                    return "complete"
                elif event.name != "error":
                    job.wrong(f"a {event!r} in its log")
        return "cut"


def read_tail(world, rng):
    """?tail=N of a log that is complete: its last lines."""
    with world.model.pick(rng, lambda job: job.has_lines and job.total is not None) as job:
        count = rng.choice((1, 5, 500))
        path = f"/process_logs_streaming?id={job.id}&tail={count}"
        stream, answer = open_stream(world, "GET", path)
        if stream is None:
            return str(answer)
        with stream:
            events = list(events_of(world, stream, path))
        if not events or events[-1].name != "complete":
            return "cut"
        first = max(job.total - count, 0)
        if len(events) - 1 != job.total - first:
            job.wrong(f"tail={count} gave {len(events) - 1} lines")
        for position, event in enumerate(events[:-1], first):
            job.see(position, event)
        return "read"


def read_parts(world, rng):
    """/read_output of a log that is complete: parts of any size are all of it, once, whichever daemon dies between them."""
    with world.model.pick(rng, lambda job: job.has_lines and job.total is not None) as job:
        body, output, answers = {"id": job.id, "max_bytes": rng.choice((5000, 65536, 1 << 20)), "timeout_ms": 5000}, "", 0
        while not world.stop.is_set() and answers < 200:
            answers += 1
            answer = ask(world, "POST", "/read_output", body)
            if not answer.certain:
                world.stop.wait(0.02)
                continue
            if answer.status != 200:
                job.wrong(f"its output is answered by {answer.status} {answer.body}")
            output, body["offset"] = output + answer.body["output"], answer.body["next_offset"]
            if answer.body["why"] == "ended":
                if output != "".join(fact[3] + "\n" for fact in job.events):
                    job.wrong(f"its output in parts has {len(output)} characters in {output.count(chr(10))} lines")
                return "read"
        return "given up"


# ---- commands ----


def run(world, rng):
    once = world.model.add(Once(world.model.directory))
    count, code = rng.choice((0, 1, 1, 100, 20000)), rng.choice((0, 0, 1))
    fields = {"stdin": "in ü\n" * rng.choice((0, 1, 50000))} if "run stdin" in world.features and rng.random() < 0.5 else {}
    answer = ask(world, "POST", "/run", {"cmd": once.mark() + f"seq {count}; echo e >&2; cat; exit {code}", **fields})
    if answer.refused:
        once.known = "not"
    if answer.certain:
        once.known = "done"
        expected = "".join(f"{number}\n" for number in range(1, count + 1)) + fields.get("stdin", "")
        body = answer.body
        if answer.status != 200 or (body["stdout"], body["stderr"], body["code"]) != (expected, "e\n", code):
            raise Violation(f"/run {once}: {answer.status} {body!r:.300}")
    once.check()
    return str(answer)


def run_with_timeout(world, rng):
    """A command that would run for a day."""
    once = world.model.add(Once(world.model.directory))
    once.may_die_early = True
    tree = TREES[rng.choice(sorted(TREES))][0].format(sleep=f"sleep {once.tag}")
    answer = ask(world, "POST", "/run", {"cmd": once.mark() + tree, "env": {"DAEMON": DAEMON}, "timeout_ms": 200})
    if answer.refused:
        once.known = "not"
    if answer.certain and (answer.status != 200 or answer.body["code"] == 0):
        raise Violation(f"/run {once} with a timeout: {answer.status} {answer.body}")
    gone(world, once, f"/run with a timeout, {answer}")
    once.check()
    return str(answer)


def run_streaming(world, rng):
    once = world.model.add(Once(world.model.directory))
    count, code = rng.choice((1, 20, 3000)), rng.choice((0, 4))
    stream, answer = open_stream(world, "POST", "/run_streaming", {"cmd": once.mark() + f"seq {count}; exit {code}"}, slow=rng.random() < 0.2)
    if stream is None:
        once.known = "not" if answer.refused else "maybe"
        return str(answer)
    with stream:
        events = list(events_of(world, stream, "/run_streaming"))
    lines = [event.data["data"] for event in events if event.name == "output"]
    if lines != [str(number) for number in range(1, len(lines) + 1)]:
        raise Violation(f"/run_streaming {once}: {lines!r:.300}")
    if not events or events[-1].name != "complete":
        return "cut"
    once.known = "done"
    once.check()
    if len(lines) != count or events[-1].data["code"] != code:
        raise Violation(f"/run_streaming {once}: {len(lines)} lines, {events[-1]}")
    return "complete"


def hang_up(world, rng):
    """The client of a command that would run for a day goes away as soon as it runs."""
    once = world.model.add(Once(world.model.directory))
    once.may_die_early = True
    kind, streaming, reset = rng.choice(sorted(TREES)), rng.random() < 0.5, rng.random() < 0.5
    body = {"cmd": once.mark() + "echo up; " + TREES[kind][0].format(sleep=f"sleep {once.tag}"), "env": {"DAEMON": DAEMON}}
    if streaming:
        stream, answer = open_stream(world, "POST", "/run_streaming", body)
        outcome = str(answer)
        if stream is not None:
            outcome = next((event.name for event in events_of(world, stream, "/run_streaming")), "cut")
            stream.close(reset)
        elif answer.refused:
            once.known = "not"
    else:
        outcome = hang_up_silently(world, once, body)
    gone(world, once, f"the client of a tree of {kind} has hung up ({outcome})")
    once.check()
    return outcome


def hang_up_silently(world, once, body):
    """The same of /run, which says nothing before its command has ended."""
    since = time.monotonic()
    content = json.dumps(body).encode()
    request = http_request("POST", "/run", [("Host", "x"), world.server.bearer(), ("Content-Length", str(len(content)))], content)
    try:
        with RawConnection(world.server.host, world.server.port, PATIENCE) as raw:
            raw.send(request)
            raw.socket.settimeout(0.05)
            end = time.monotonic() + PATIENCE
            while not once.times():
                with contextlib.suppress(TimeoutError):
                    if b" 503 " in raw.socket.recv(4096).partition(b"\r\n")[0]:
                        once.known = "not"
                    return str(excused(world, "an early answer", since, "/run"))
                if time.monotonic() > end:
                    raise Violation(f"/run {once}: neither runs nor answers within {PATIENCE} s")
    except ConnectionError as error:
        return str(excused(world, "broken", since, f"/run: {error}", "nginx"))
    return "hung up"


# ---- files, health ----


def change_file(world, file, content, request, is_success):
    """What is acknowledged is there, and of any other change all or nothing. `request` is method, path and body."""
    with file.lock:
        return change_locked(world, file, content, request, is_success)


def change_locked(world, file, content, request, is_success):
    """The same for a caller who has the file's lock."""
    method, path, body = request
    before = set(file.possible)
    file.possible.add(content)
    answer = ask(world, method, path, body)
    if answer.certain:
        if not is_success(answer):
            raise Violation(f"{method} {path}: {answer.status} {answer.body}")
        file.possible = {content}
    elif answer.refused:
        file.possible = before
    else:
        world.weather.calm(PATIENCE)
    file.check(file.path.read_text() if file.path.exists() else None)
    return str(answer)


def write_file(world, rng):
    file, content = rng.choice(world.model.files), f"{rng.random()} " * rng.choice((1, 1000, 20000))
    return change_file(world, file, content, ("POST", "/write_file", {"path": str(file.path), "content": content}),
                       lambda answer: answer.body.get("success") is True)


def edit_file(world, rng):
    """Every word of a file becomes another."""
    file, new = rng.choice(world.model.files), f"{rng.random()} "
    with file.lock:
        content = file.path.read_text() if file.path.exists() else ""
        if not content:
            return "nothing to edit"
        old = content.split(" ")[0] + " "
        edits = [{"old_str": old, "new_str": new, "expected_count": content.count(old)}]
        return change_locked(world, file, content.replace(old, new), ("POST", "/edit_file", {"path": str(file.path), "edits": edits}),
                             lambda answer: answer.status == 200)


def read_file(world, rng):
    file = rng.choice(world.model.files)
    with file.lock:
        answer = ask(world, "POST", "/read_file", {"path": str(file.path)})
        if answer.certain:
            file.check(answer.body.get("content"))
    return str(answer)


def write_files(world, rng):
    """The call for several files, of one."""
    file, content = rng.choice(world.model.files), f"{rng.random()} " * rng.choice((1, 20000))
    return change_file(world, file, content, ("POST", "/write_files", {"files": [{"path": str(file.path), "content": content}]}),
                       lambda answer: answer.body["results"][0]["success"] is True)


def read_files(world, rng):
    file = rng.choice(world.model.files)
    with file.lock:
        answer = ask(world, "POST", "/read_files", {"paths": [str(file.path)]})
        if answer.certain:
            file.check(answer.body["results"][0].get("content"))
    return str(answer)


@contextlib.contextmanager
def two_files(world, rng):
    """Two files for the caller alone; the first one is there."""
    first, second = sorted(rng.sample(range(len(world.model.files)), 2))
    source, target = rng.sample((world.model.files[first], world.model.files[second]), 2)
    with world.model.files[first].lock, world.model.files[second].lock:
        if not source.path.exists():
            raise Skipped
        yield source, target


def copy_file(world, rng):
    """A file's content becomes another's, whole or not at all."""
    with two_files(world, rng) as (source, target):
        return change_locked(world, target, source.path.read_text(), ("POST", "/copy_file", {"from": str(source.path), "to": str(target.path), "overwrite": True}),
                             lambda answer: answer.body.get("success") is True)


def move_file(world, rng):
    """A file takes another's name: its content is under the one name or the other."""
    with two_files(world, rng) as (source, target):
        content, before = source.path.read_text(), set(source.possible)
        source.possible.add(None)
        outcome = change_locked(world, target, content, ("POST", "/move_file", {"from": str(source.path), "to": str(target.path), "overwrite": True}),
                                lambda answer: answer.body.get("success") is True)
        is_there = source.path.exists()
        if not is_there and target.path.read_text() != content:
            raise Violation(f"{source.path} was moved, and its content is not at {target.path}")
        if outcome == "200" and is_there:
            raise Violation(f"{source.path} was moved, and is there")
        source.possible = before - {None} if is_there else {None}
    return outcome


def set_mode(world, rng):
    """The mode is the old or the new one, and the content the same."""
    file = rng.choice(world.model.files)
    with file.lock:
        if not file.path.exists():
            raise Skipped
        old, new = stat.S_IMODE(file.path.stat().st_mode), rng.choice((0o600, 0o640, 0o644, 0o755))
        answer = ask(world, "POST", "/set_mode", {"path": str(file.path), "mode": f"{new:04o}", "recursive": rng.random() < 0.5})
        if answer.certain and answer.body.get("success") is not True:
            raise Violation(f"/set_mode of {file.path}: {answer.status} {answer.body}")
        if answer.maybe:
            world.weather.calm(PATIENCE)
        expected = (new,) if answer.certain else (old,) if answer.refused else (old, new)
        if (mode := stat.S_IMODE(file.path.stat().st_mode)) not in expected:
            raise Violation(f"{file.path}: {answer}, and its mode {old:o} is {mode:o}, not {new:o}")
        file.check(file.path.read_text())
    return str(answer)


def search_files(world, rng):
    """A search finds the file and its first word, a walk its details."""
    file = rng.choice(world.model.files)
    with file.lock:
        content = file.path.read_text() if file.path.exists() else ""
        below = {"path": str(file.path.parent), "glob": file.path.name}
        word, pattern = content.split(" ")[0] or "0", rng.choice(({"fixed": True}, {}))
        found = ask(world, "POST", "/search_files", {**below, "pattern": word, "limit": 1, **pattern})
        if found.certain and [(match["path"], match["line"], match["column"]) for match in found.body["matches"]] != [(str(file.path), 1, 1)] * (content != ""):
            raise Violation(f"/search_files for {word} in {file.path}: {found.body!r:.300}")
        listed = ask(world, "POST", "/find_files", below)
        if listed.certain and [(entry["path"], entry["size"]) for entry in listed.body["entries"]] != [(str(file.path), len(content))] * file.path.exists():
            raise Violation(f"/find_files of {file.path}: {listed.body!r:.300}")
    return f"{found} {listed}"


def put_file(world, rng):
    file, content = rng.choice(world.model.files), f"{rng.random()} " * rng.choice((1, 1000, 200_000))
    return change_file(world, file, content, ("PUT", f"/files{file.path}", content.encode()),
                       lambda answer: answer.status in (201, 204))


def get_file(world, rng):
    """What comes is whole, or shorter than it says."""
    file, since = rng.choice(world.model.files), time.monotonic()
    with file.lock:
        try:
            response = world.server.call("GET", f"/files{file.path}", timeout=PATIENCE, headers={"Connection": "close"})
        except requests.RequestException as error:
            return str(excused(world, Answer("broken"), since, f"GET /files: {error}", "nginx"))
        if response.status_code != 200:
            answer = judge(world, "GET /files", response.status_code, response.headers, response.content, since)
            if answer.status == 404:
                file.check(None)
            return str(answer)
        if len(response.content) != int(response.headers["Content-Length"]):
            return str(excused(world, Answer("cut"), since, "GET /files"))
        file.check(response.content.decode())
    return "200"


TUS = {"Tus-Resumable": "1.0.0"}


def ask_uploads(world, method, path, body=None, **headers):
    """A request to /uploads, and the headers of its answer; none where there was no certain one."""
    since = time.monotonic()
    given = {**TUS, "Connection": "close", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        response = world.server.call(method, path, body, timeout=PATIENCE, headers=given)
    except requests.RequestException as error:
        return excused(world, Answer("broken"), since, f"{method} {path}: {error}", "nginx"), {}
    if response.status_code < 300:
        return Answer("answered", response.status_code), response.headers
    if method == "HEAD":  # an error of nginx or fcgi-app, without its text
        kind = "refused" if response.status_code == 503 else "answered"
        answer = Answer(kind, response.status_code, {})
        return (excused(world, answer, since, f"{method} {path}") if kind == "refused" else answer), {}
    return judge(world, path, response.status_code, response.headers, response.content, since), response.headers


def begin_upload(world, file, content):
    """The path of a new upload, as soon as one is acknowledged."""
    given = {"Upload_Length": str(len(content)), "Upload_Metadata": "path " + base64.b64encode(os.fsencode(file.path)).decode()}
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer, headers = ask_uploads(world, "POST", "/uploads", **given)
        if answer.certain:
            if answer.status != 201:
                raise Violation(f"POST /uploads: {answer.status} {answer.body}")
            return "/" + headers["Location"]
        world.weather.calm(PATIENCE)
    raise Violation(f"POST /uploads: no certain answer within {PATIENCE} s")


def send_pieces(world, upload, content, rng):
    """Sends the content from where the server is, until all is there; how often it was asked where that is."""
    asked, acknowledged, end = 0, 0, time.monotonic() + 4 * PATIENCE
    while time.monotonic() < end:
        answer, headers = ask_uploads(world, "HEAD", upload)
        asked += 1
        if not answer.certain or answer.status == 423:
            world.weather.calm(PATIENCE)
            continue
        if answer.status != 200:
            raise Violation(f"HEAD {upload}: {answer.status}, after {acknowledged} of {len(content)} bytes")
        offset = int(headers["Upload-Offset"])
        if not acknowledged <= offset <= len(content):
            raise Violation(f"{upload}: {offset} of {len(content)} bytes are there, {acknowledged} were acknowledged")
        while offset < len(content):
            piece = content[offset:offset + rng.choice((1, 100_000, 1_000_000, 10_000_000))]
            answer, headers = ask_uploads(world, "PATCH", upload, piece, Upload_Offset=str(offset), Content_Type="application/offset+octet-stream")
            if answer.certain and answer.status not in (204, 409, 423):
                raise Violation(f"PATCH {upload}: {answer.status} {answer.body}")
            if not answer.certain or answer.status != 204:
                break
            acknowledged = offset = int(headers["Upload-Offset"])
        if offset == len(content):
            return asked
        world.weather.calm(PATIENCE)
    raise Violation(f"{upload}: not whole within {4 * PATIENCE} s")


def upload_file(world, rng):
    """An upload goes on whatever dies: what was acknowledged stays, nothing of it shows before the end, and then all of it."""
    file, content = rng.choice(world.model.files), f"{rng.random()} " * rng.choice((1, 1000, 200_000))
    with file.lock:
        upload = begin_upload(world, file, content.encode())
        file.check(file.path.read_text() if file.path.exists() else None)
        file.possible.add(content)  # from the last byte on
        asked = send_pieces(world, upload, content.encode(), rng)
        file.possible = {content}
        file.check(file.path.read_text())
    return "done at once" if asked == 1 else "done after cuts"


def next_change(world, stream, path):
    """None: the stream was cut."""
    return next((event for event in events_of(world, stream, path) if event.name != "error"), None)


def follow_changes(world, rng):
    """What appears while a stream is open is reported, and a client that comes back is told that it may have missed something."""
    directory = pathlib.Path(tempfile.mkdtemp(dir=world.model.directory, prefix="changes-"))
    path = f"/file_changes_streaming?path={directory}"
    try:
        stream, answer = open_stream(world, "GET", path)
        if stream is None:
            return str(answer)
        with stream:
            (directory / "file").write_text("x" * rng.randrange(100))
            event = next_change(world, stream, path)
        if event is None:
            return "cut"
        if (event.name, event.data["path"]) != ("created", f"{directory}/file"):
            raise Violation(f"{path}: {event.name} {event.data}")
        stream, answer = open_stream(world, "GET", path, headers={"Last-Event-ID": event.id})
        if stream is None:
            return str(answer)
        with stream:
            event = next_change(world, stream, path)
        if event is not None and event.name != "gap":
            raise Violation(f"{path}: comes back to {event.name} {event.data}")
        return "told"
    finally:
        shutil.rmtree(directory)


def health(world, _):
    answer = ask(world, "GET", "/health", token=False)
    if answer.certain and answer.body != {"status": "ok"}:
        raise Violation(f"/health: {answer.status} {answer.body}")
    return str(answer)


# ---- ports ----


def list_ports(world, _):
    """What the targets listen on is there, and is no command's."""
    answer = ask(world, "GET", "/list_ports")
    if answer.certain:
        owners = {row["port"]: row["id"] for row in answer.body["ports"]} if answer.status == 200 else {}
        if any(owners.get(port, "missing") is not None for port in world.targets):
            raise Violation(f"/list_ports: {answer.status} {answer.body}")
    return str(answer)


def wait_port(world, rng):
    answer = ask(world, "POST", "/wait_port", {"port": rng.choice(world.targets), "timeout_ms": 100})
    if answer.certain and (answer.status, answer.body) != (200, {"listening": True}):
        raise Violation(f"/wait_port: {answer.status} {answer.body}")
    return str(answer)


# ---- the binding ----


@contextlib.contextmanager
def binding_of(world):
    """The binding for the caller alone."""
    binding = world.model.binding
    if not binding.lock.acquire(blocking=False):
        raise Skipped
    try:
        yield binding
    finally:
        binding.lock.release()


def bind_race(world, rng):
    """One to three binds at the same time."""
    ports = rng.sample(world.targets, rng.choice((1, 1, 3)))
    with binding_of(world) as binding:
        answers = in_threads(len(ports), lambda number: ask(world, "POST", "/bind_port", {"port": str(ports[number])}))
        outcomes = []
        for port, answer in zip(ports, answers):
            if answer.certain and answer.status not in (200, 409):
                raise Violation(f"/bind_port: {answer.status} {answer.body}")
            if answer.certain:
                outcomes.append((port, "won" if answer.status == 200 else int(answer.body["current_port"])))
            elif answer.maybe:
                outcomes.append((port, None))
        if any(answer.maybe for answer in answers):
            world.weather.calm(PATIENCE)
        binding.race(outcomes)
    return " ".join(sorted(map(str, answers)))


def unbind(world, _):
    with binding_of(world) as binding:
        answer = ask(world, "POST", "/unbind_port")
        if answer.certain:
            binding.possible = {None}
        elif answer.maybe:
            world.weather.calm(PATIENCE)
            binding.possible.add(None)
    return str(answer)


def use_port(world, _):
    """A connection to PROXY_PORT reaches the bound target, and none when nothing is bound."""
    with binding_of(world) as binding:
        since = time.monotonic()
        try:
            with socket.create_connection((world.server.proxy_host, world.server.proxy_port), timeout=PATIENCE) as connection:
                reached = connection.makefile("rb").read()
        except TimeoutError as error:
            raise Violation(f"PROXY_PORT: nothing within {PATIENCE} s") from error
        except ConnectionError as error:
            return str(excused(world, "broken", since, f"PROXY_PORT: {error}", "nginx"))
        port = int(reached) if reached else None
        if port in binding.possible:
            return "reached" if port else "closed"
        if port is not None:
            raise Violation(f"PROXY_PORT leads to {port}, bound are {binding.possible}")
        return str(excused(world, "closed without data", since, f"PROXY_PORT, bound are {binding.possible}", "nginx"))


# ---- what happens to the daemons ----


def strike(world, names, number=signal.SIGKILL, workers=False, again=False):
    """Sends the signal to the daemons and waits until all is well; with `again` strikes once more when they are back."""
    with world.weather.storm(*names):
        for _ in range(2 if again else 1):
            old = {name: wait_until(lambda name=name: world.server.daemon(name), f"{name} to run", PATIENCE) for name in names}
            # The master first: it would make another worker, which for a moment is called a master, too.
            pids = [*old.values(), *(world.server.nginx_pids() if workers else ())]
            for pid in dict.fromkeys(pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            for name in names:
                wait_until(lambda name=name: world.server.daemon(name) not in (None, old[name]), f"another {name}", PATIENCE)
        world.healthy()
    return "healed"


def strikes(*names, **options):
    return lambda world, rng: strike(world, names, **options)


def strike_some(world, rng):
    names = rng.sample(("fcgi-app", "procd", "nginx"), 2)
    return strike(world, names, workers="nginx" in names and rng.random() < 0.5)


def strike_worker(world, rng):
    with world.weather.storm("nginx"):
        master = world.server.daemon("nginx")
        workers = [pid for pid in world.server.nginx_pids() if pid != master]
        if not workers:
            raise Skipped
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)
        world.healthy()
    return "healed"


def runner_of(job):
    """The process that owns the job's tree; None when its first process has ended."""
    stat = proc_stat(job.pid)
    return stat[1] if stat and b"--runner" in proc_file(stat[1], "cmdline") else None


def strike_runner(world, rng):
    """The runner of a background job: its log ends where it is."""
    with world.model.pick(rng, runner_of) as job, world.weather.storm("runner"):
        runner = runner_of(job)
        if runner is None:
            raise Skipped
        job.runner_killed = job.may_die_early = True
        os.kill(runner, signal.SIGKILL)
    return "killed"


def freeze_procd(world, rng):
    """It stands still for a moment and goes on, or dies of it."""
    with world.weather.storm("procd"):
        pid = wait_until(lambda: world.server.daemon("procd"), "procd to run", PATIENCE)
        os.kill(pid, signal.SIGSTOP)
        world.pause(rng.uniform(0.1, 1.5))
        dies = rng.random() < 0.5
        os.kill(pid, signal.SIGKILL if dies else signal.SIGCONT)
        if dies:
            wait_until(lambda: world.server.daemon("procd") not in (None, pid), "another procd", PATIENCE)
        world.healthy()
    return "died" if dies else "went on"


def reload_nginx(world, _):
    """No storm: a reload must cost nobody anything."""
    master = wait_until(lambda: world.server.daemon("nginx"), "nginx to run", PATIENCE)
    workers = set(world.server.nginx_pids())
    subprocess.run(["s6-svc", "-h", str(world.server.run_dir / "service" / "nginx")], check=True)
    wait_until(lambda: set(world.server.nginx_pids()) - workers, "new workers", PATIENCE)
    if not alive(master):
        raise Violation("nginx's master died of a reload")
    return "reloaded"


OPERATIONS = (
    #         name                    weight  precondition                                    action
    Operation("start a burst",            12, room_for_a_job,                                 start_burst),
    Operation("start a ticker",            6, room_for_a_job,                                 start_ticker),
    Operation("start a tree",              4, room_for_a_job,                                 start_tree),
    Operation("start a timed tree",        3, feature("timeout_ms", room_for_a_job),          start_timed),
    Operation("start a leaver",            3, room_for_a_job,                                 start_leaver),
    Operation("start a deaf one",          3, feature("signal", room_for_a_job),              start_deaf),
    Operation("start a reader",            4, feature("write_stdin", room_for_a_job),         start_reader),
    Operation("start a terminal",          4, feature("pty", room_for_a_job),                 start_terminal),
    Operation("kill",                     12, a_job,                                          kill),
    Operation("kill at once",              3, a_job,                                          kill_at_once),
    Operation("signal",                    5, feature("signal", a_job),                       send_signal),
    Operation("resize a terminal",         4, feature("pty", a_job),                          typed.resize),
    Operation("interrupt a terminal",      1, feature("pty", a_job),                          typed.interrupt),
    Operation("list",                      8, always,                                         list_processes),
    Operation("get",                       6, feature("get_process", a_job),                  get_process),
    Operation("wait",                      6, feature("wait_process", a_job),                 wait_process),
    Operation("delete",                    5, feature("delete_process", a_job),               delete_process),
    Operation("write stdin",              12, feature("write_stdin", a_job),                  write_stdin),
    Operation("follow",                   12, room_for_a_follower,                            follow),
    Operation("follow together",           2, room_for_a_follower,                            follow_together),
    Operation("read a snapshot",           4, feature("follow=0", a_job),                     read_snapshot),
    Operation("read a tail",               4, feature("tail", a_job),                         read_tail),
    Operation("read by parts",             4, feature("read_output", a_job),                  read_parts),
    Operation("run",                      16, always,                                         run),
    Operation("run with a timeout",        4, feature("timeout_ms"),                          run_with_timeout),
    Operation("run streaming",             8, always,                                         run_streaming),
    Operation("hang up",                   6, always,                                         hang_up),
    Operation("write a file",              6, always,                                         write_file),
    Operation("edit a file",               6, always,                                         edit_file),
    Operation("read a file",               6, always,                                         read_file),
    Operation("write files",               3, always,                                         write_files),
    Operation("read files",                3, always,                                         read_files),
    Operation("copy a file",               4, always,                                         copy_file),
    Operation("move a file",               4, always,                                         move_file),
    Operation("set a mode",                3, always,                                         set_mode),
    Operation("find and search",           4, always,                                         search_files),
    Operation("put a file",                6, always,                                         put_file),
    Operation("get a file",                6, always,                                         get_file),
    Operation("upload a file",             6, always,                                         upload_file),
    Operation("follow changes",            4, always,                                         follow_changes),
    Operation("health",                    3, always,                                         health),
    Operation("list the ports",            4, always,                                         list_ports),
    Operation("wait for a port",           4, always,                                         wait_port),
    Operation("bind",                      6, always,                                         bind_race),
    Operation("unbind",                    4, always,                                         unbind),
    Operation("use the port",             10, always,                                         use_port),
)

DISTURBANCES = (
    Operation("kill fcgi-app",             5, always,                                         strikes("fcgi-app")),
    Operation("kill procd",                5, always,                                         strikes("procd")),
    Operation("kill nginx's master",       3, always,                                         strikes("nginx")),
    Operation("kill all of nginx",         3, always,                                         strikes("nginx", workers=True)),
    Operation("kill a worker of nginx",    3, always,                                         strike_worker),
    Operation("kill two",                  4, always,                                         strike_some),
    Operation("kill all",                  3, always,                                         strikes("fcgi-app", "procd", "nginx", workers=True)),
    Operation("kill fcgi-app twice",       2, always,                                         strikes("fcgi-app", again=True)),
    Operation("kill procd twice",          2, always,                                         strikes("procd", again=True)),
    Operation("stop fcgi-app",             2, always,                                         strikes("fcgi-app", number=signal.SIGTERM)),
    Operation("stop procd",                2, always,                                         strikes("procd", number=signal.SIGTERM)),
    Operation("freeze procd",              2, always,                                         freeze_procd),
    Operation("reload nginx",              3, always,                                         reload_nginx),
    Operation("kill a runner",             4, feature("runners may die"),                     strike_runner),
)
