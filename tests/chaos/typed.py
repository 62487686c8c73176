"""Operations with terminals: what is typed comes back, numbered, and every byte of it is on the disk in its place."""

import re

from client import Follower, ask
from model import Violation

NUMBERED = re.compile(r"(\d+) (\S+)")


def read_whole(world, job):
    """Reads all that a job that has ended has put out."""
    if job.has_lines:
        Follower(world, job).run()
        return
    output = b""
    for path in sorted((world.server.run_dir / "state/jobs" / job.id).glob("bytes.*")):
        if int(path.name.removeprefix("bytes.")) != len(output):
            job.wrong(f"{path.name} comes after {len(output)} bytes")
        output += path.read_bytes()
    lines = output.decode().split("\r\n")
    # What is typed before the terminal's echo is off comes twice.
    numbered = [match for line in lines[:-1] if (match := NUMBERED.fullmatch(line))]
    if [int(match[1]) for match in numbered] != list(range(1, len(numbered) + 1)):
        job.wrong(f"its output is {output!r:.300}")
    with job.lock:
        job.events = [(None, None, "stdout", match[0]) for match in numbered]
        job.total = len(numbered)


def judge_order(job, answer):
    if answer.certain and answer.status != 200 and not (job.ended or job.disturbed()):
        job.wrong(f"answered by {answer.status} {answer.body}")
    return str(answer)


def running_terminal(job):
    return job.kind == "terminal" and job.ended is None


def resize(world, rng):
    """The size that it has is one that was asked for."""
    with world.model.pick(rng, running_terminal) as job:
        cols, rows = rng.randrange(1, 500), rng.randrange(1, 500)
        with job.lock:
            job.sizes.add((cols, rows))
        outcome = judge_order(job, ask(world, "POST", "/resize_terminal", {"id": job.id, "cols": cols, "rows": rows}))
        entry = ask(world, "GET", f"/get_process?id={job.id}")
        if entry.certain and entry.status == 200 and (entry.body["pty"]["cols"], entry.body["pty"]["rows"]) not in job.sizes:
            raise Violation(f"job {job}: {entry.body['pty']} was never asked for")
        return outcome


def interrupt(world, rng):
    """A Ctrl-C that is no key."""
    with world.model.pick(rng, lambda job: running_terminal(job) and job.id) as job:
        with job.lock:
            job.signals += 1
            job.possible_kills += 1
            job.may_die_early = True
        return judge_order(job, ask(world, "POST", "/kill_process", {"id": job.id, "signal": "INT"}))
