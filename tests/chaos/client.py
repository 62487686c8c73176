"""
Talking to a server whose daemons die: requests and streams, and what must hold of every one of them. Never a 502,
never an error that is no JSON, never a hang, and no failure without a storm (model.Weather) to excuse it.
"""

import http.client
import json
import time

import requests

from model import Violation
from sandbox import DEADLINE, EventStream

# How long anything may take that waits for daemons to be back, on a machine that runs other tests as well.
PATIENCE = 12 * DEADLINE


class Answer:
    """
    `certain`: it was carried out or refused, as status and body say. Otherwise `refused` (503) was certainly not done,
    and anything else may have been: "lost" (409 with may_have_run), "cut" (half an answer), "broken" (a connection error).
    """

    def __init__(self, kind, status=None, body=None):
        self.kind, self.status, self.body = kind, status, body

    certain = property(lambda self: self.kind == "answered")
    refused = property(lambda self: self.kind == "refused")
    maybe = property(lambda self: not self.certain and not self.refused)

    def __str__(self):
        return str(self.status) if self.certain else self.kind


def ask(world, method, path, body=None, token=True):
    """One request on a connection of its own: what is checked of an idle one is another matter."""
    since = time.monotonic()
    try:
        response = world.server.call(method, path, body, token=token, timeout=PATIENCE, headers={"Connection": "close"})
    except requests.RequestException as error:
        if time.monotonic() - since >= PATIENCE:
            raise Violation(f"{path}: no answer within {PATIENCE} s") from error
        if isinstance(error, requests.exceptions.ChunkedEncodingError):
            return excused(world, Answer("cut"), since, path)
        return excused(world, Answer("broken"), since, f"{path}: {error}", "nginx")
    return judge(world, path, response.status_code, response.headers, response.content, since)


def judge(world, path, status, headers, content, since):
    """What an answer means, by its status and body."""
    try:
        body = json.loads(content)
    except ValueError:
        body = None
    if status in (201, 204) and path.startswith("/files/"):
        return Answer("answered", status)  # it has no body
    if status < 300:
        return Answer("answered", status, body) if body is not None else excused(world, Answer("cut", status), since, path)
    if not isinstance(body, dict) or not body.get("error") or not headers.get("Content-Type", "").startswith("application/json"):
        raise Violation(f"{path}: {status} with a body that is no JSON error: {content[:300]!r}")
    told = f"{path}: {status} {body['error']}"
    if status == 409 and body.get("may_have_run") is True:
        return excused(world, Answer("lost", status, body), since, told)
    if status < 500:
        return Answer("answered", status, body)
    if status == 503:
        if not headers.get("Retry-After", "").isdigit():
            raise Violation(f"{told}: no Retry-After")
        return excused(world, Answer("refused", status, body), since, told)
    raise Violation(told)


def excused(world, answer, since, told, *names):
    if not world.weather.excuses(since, *names):
        raise Violation(f"{answer} in calm weather: {told}")
    return answer


# ---- streams ----


class SlowStream(EventStream):
    """A reader that takes a few hundred KiB a second."""

    pause = None  # a function that waits a moment

    def read_some(self):
        self.pause()
        try:
            data = self.response.read1(4096)
        except (http.client.IncompleteRead, ConnectionError):
            data = b""
        self.raw += data
        return bool(data)


def open_stream(world, method, path, body=None, headers=None, slow=False):
    """(an open event stream, its Answer): the stream is None where the answer is no stream."""
    since = time.monotonic()
    kind = SlowStream if slow else EventStream
    try:
        stream = kind(world.server, method, path, body, headers=headers, timeout=PATIENCE, answer_timeout=PATIENCE)
    except TimeoutError as error:
        raise Violation(f"{path}: no stream within {PATIENCE} s") from error
    except (OSError, http.client.HTTPException) as error:
        return None, excused(world, Answer("broken"), since, f"{path}: {error!r}", "nginx")
    stream.since = since
    stream.pause = lambda: world.stop.wait(0.01)
    if stream.status == 200:
        return stream, Answer("answered", 200)
    with stream:
        return None, judge(world, path, stream.status, stream.headers, stream.read_all(), since)


def events_of(world, stream, path):
    """
    Yields its events up to and with `complete`. An `error` event, and an end without either, is a storm's doing and
    ends it as well.
    """
    try:
        for event in stream:
            if event.name == "error":
                yield event
                excused(world, Answer("error event"), stream.since, f"{path}: {event.data}")
                return
            yield event
            if event.name == "complete":
                if stream.read_some():
                    raise Violation(f"{path}: something follows `complete`: {stream.raw[-200:]!r}")
                return
    except TimeoutError as error:
        raise Violation(f"{path}: silence of {PATIENCE} s") from error
    excused(world, Answer("cut stream"), stream.since, path)


class Follower:
    """Reads a job's log to its end, however often that takes, and checks every line of it."""

    def __init__(self, world, job, slow=False, leave_after=0, by_cursor=False):
        self.world, self.job, self.slow = world, job, slow
        self.leave_after = leave_after  # lines after which it hangs up and comes back, more each time; 0: never
        self.by_cursor = by_cursor      # resumes by ?cursor= and not by Last-Event-ID
        self.position, self.last = 0, None
        self.connections = 0

    def run(self):
        """The outcome: it ended, how often it had been cut."""
        while not self.read_on():
            if self.world.failed.is_set():
                return "given up"
            self.world.stop.wait(0.02)
        return "complete" if self.connections == 1 else "complete, resumed"

    def read_on(self):
        """One connection; True when the log is complete."""
        self.connections += 1
        path, headers = f"/process_logs_streaming?id={self.job.id}", {}
        if self.last is not None and self.by_cursor:
            path += f"&cursor={self.last}"
        elif self.last is not None:
            headers["Last-Event-ID"] = self.last
        stream, answer = open_stream(self.world, "GET", path, headers=headers, slow=self.slow)
        if stream is None:
            if answer.certain:
                self.job.wrong(f"its log is answered by {answer.status} {answer.body}")
            return False
        with stream:
            return self.take(stream, path)

    def take(self, stream, path):
        lines = 0
        for event in events_of(self.world, stream, path):
            if event.name == "complete":
                self.job.completed(self.position)
                return True
            if event.name == "error":
                if "not found" in event.data["error"]:
                    self.job.wrong(event.data["error"])
                continue
            if event.name != "log":
                self.job.wrong(f"a {event!r} in its log")
            self.job.see(self.position, event)
            self.position, self.last, lines = self.position + 1, event.id, lines + 1
            if lines == self.leave_after:
                self.leave_after *= 2
                return False
            if self.world.failed.is_set():
                return False
        return False
