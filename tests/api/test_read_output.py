"""POST /read_output: what a process has printed since a place, once it is worth an answer."""

import base64
import random
import signal
import time

import pytest

from sandbox import DEADLINE, TIMEOUT, in_threads, wait_until

UNKNOWN = "00000000-0000-4000-8000-000000000000"
LONG = int(TIMEOUT * 1000)


def read(server, identifier, **body):
    answer = server.call("POST", "/read_output", {"id": identifier, **body}, timeout=2 * TIMEOUT)
    assert answer.status_code == 200, answer.text
    return answer.json()


def read_all(server, identifier, offset=None, **body):
    """Everything up to the end, in as many answers as it takes."""
    output, answers = "", []
    while not answers or answers[-1]["why"] != "ended":
        answers.append(read(server, identifier, offset=offset, timeout_ms=LONG, **body))
        output, offset = output + answers[-1]["output"], answers[-1]["next_offset"]
    return output, answers


def streams(sandbox):
    return sandbox.get("/health?full=1").json()["queue"]["streams"]


def cat(sandbox):
    """A process that prints what it is given."""
    return sandbox.start("exec cat", stdin=True)["id"]


def test_the_output_of_a_process_that_has_ended(sandbox):
    identifier = sandbox.start("echo one; echo two >&2; printf 'end'; exit 3")["id"]
    sandbox.ended(identifier)
    answer = read(sandbox, identifier)
    assert answer.pop("ended_at") and answer.pop("next_offset").startswith(identifier[:8])
    assert sorted(answer.pop("output").split("\n")) == ["", "end", "one", "two"]
    assert answer == {"offset": identifier[:8] + "-0-0", "more": False, "why": "ended", "status": "failed", "exit_code": 3, "reason": "exit"}


def test_types_and_waits(sandbox):
    identifier = cat(sandbox)
    answer = read(sandbox, identifier, data="hello\n", timeout_ms=LONG)
    assert (answer["output"], answer["why"], answer["written"], answer["full"], answer["status"]) == ("hello\n", "quiet", 6, False, "running")
    # Without an offset what comes after the typing is the answer; with one, what the client has not seen.
    again = read(sandbox, identifier, data="more\n", timeout_ms=LONG)
    assert again["output"] == "more\n"
    assert read(sandbox, identifier, offset=answer["next_offset"])["output"] == "more\n"
    assert read(sandbox, identifier)["output"] == "hello\nmore\n"
    sandbox.post("/kill_process", id=identifier)


def test_python(sandbox):
    """A program that is driven by its prompts; they are lines here."""
    program = "import sys\nfor line in sys.stdin:\n  print('>>>', eval(line), flush=True)"
    identifier = sandbox.start(f"exec python3 -c \"{program}\"", stdin=True)["id"]
    for number in range(5):
        assert read(sandbox, identifier, data=f"{number} + 1\n", until="\n", timeout_ms=LONG)["output"] == f">>> {number + 1}\n"
    sandbox.post("/write_stdin", id=identifier, eof=True)
    assert read(sandbox, identifier, offset="end", timeout_ms=LONG)["why"] == "ended"


def test_until_a_text(sandbox):
    identifier = cat(sandbox)
    answer = read(sandbox, identifier, data="one two\nthree\nfour", until="o\nth", timeout_ms=LONG)
    assert (answer["output"], answer["why"], answer["more"]) == ("one two\nth", "until", True)
    assert answer["next_offset"].endswith("-1+2")
    rest = read(sandbox, identifier, offset=answer["next_offset"], until="\n", timeout_ms=LONG)
    assert (rest["output"], rest["why"], rest["more"]) == ("ree\n", "until", False)
    assert read(sandbox, identifier, offset=rest["next_offset"], until="four", timeout_ms=50)["why"] == "timeout"
    # What was there before is no answer to what is typed.
    typed = read(sandbox, identifier, offset=rest["offset"], data=" two\nthree\n", until="three", timeout_ms=LONG)
    assert typed["output"] == "ree\nfour two\nthree"
    sandbox.post("/kill_process", id=identifier)


def test_a_text_that_comes_in_pieces(sandbox, workdir):
    identifier = sandbox.start("for i in a b c; do read x; echo $i; done", stdin=True)["id"]

    def type_slowly(number):
        if number == 0:
            return read(sandbox, identifier, until="b\nc\n", timeout_ms=LONG)
        for _ in range(3):
            assert sandbox.post("/write_stdin", id=identifier, data="\n").json()["success"]
            time.sleep(0.05)
        return None

    answer = in_threads(2, type_slowly)[0]
    assert (answer["output"], answer["why"]) == ("a\nb\nc\n", "until")


def test_quiet_and_time(sandbox):
    identifier = sandbox.start("echo one; exec sleep 1000")["id"]
    answer = read(sandbox, identifier, settle_ms=0, timeout_ms=LONG)
    assert (answer["output"], answer["why"], answer["more"]) == ("one\n", "quiet", False)
    answer = read(sandbox, identifier, offset=answer["next_offset"], timeout_ms=100)
    assert (answer["output"], answer["why"], answer["offset"]) == ("", "timeout", answer["next_offset"])
    assert read(sandbox, identifier, timeout_ms=0)["output"] == "one\n"
    assert read(sandbox, identifier, until="one", settle_ms=0, timeout_ms=LONG)["why"] == "until"
    assert read(sandbox, identifier, until="two", settle_ms=10, timeout_ms=LONG)["why"] == "quiet"
    assert read(sandbox, identifier, until="two", timeout_ms=200)["why"] == "timeout"
    sandbox.post("/kill_process", id=identifier)
    ended = read(sandbox, identifier, offset=answer["next_offset"], timeout_ms=LONG)
    assert (ended["why"], ended["status"], ended["reason"], ended["signal"]) == ("ended", "killed", "killed", "SIGKILL")


def test_parts(sandbox):
    """Any size of parts gives the same text, also where lines are longer and characters are not cut."""
    text = "".join(f"{number} äöü€😀\"\\\t" + "x" * (number % 90) + "\n" * (number % 3) for number in range(300))
    sandbox.post("/write_file", path="/tmp/read-output-text", content=text)
    identifier = sandbox.start("cat /tmp/read-output-text; printf 'end\\n'")["id"]
    sandbox.ended(identifier)
    for size in (4, 7, 100, 4096, 1048576):
        output, answers = read_all(sandbox, identifier, max_bytes=size)
        assert output == text + "end\n"
        assert all(len(answer["output"].encode()) <= size for answer in answers)
        assert all(answer["more"] for answer in answers[:-2]) and not answers[-1]["more"]
        if size == 7:
            break_at = random.Random(1).choice(answers)
            assert read(sandbox, identifier, offset=break_at["offset"], max_bytes=7)["output"] == break_at["output"]


def test_a_long_line(sandbox):
    identifier = sandbox.start("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo end")["id"]
    output, answers = read_all(sandbox, identifier, max_bytes=1000000)
    assert output == "x" * 3000000 + "\nend\n" and len(answers) >= 4


def test_base64(sandbox):
    identifier = sandbox.start("printf 'a\\377\\nb\\000\\n'")["id"]
    sandbox.ended(identifier)
    assert read(sandbox, identifier)["output"] == "a\ufffd\nb\0\n"
    answer = read(sandbox, identifier, encoding="base64")
    assert answer["is_base64"] and base64.b64decode(answer["output"]) == b"a\xef\xbf\xbd\nb\0\n"


def test_what_retention_has_removed(sandbox):
    """The newest lines are kept, and what is missing is counted to the line."""
    identifier = sandbox.start("seq 2000000; exec sleep 1000")["id"]
    first = read(sandbox, identifier, until="\n", timeout_ms=LONG)
    wait_until(lambda: sandbox.get(f"/get_process?id={identifier}").json()["log_next_id"].endswith("-2000000"), "all lines", 6 * DEADLINE)
    for offset in (None, first["next_offset"]):
        answer = read(sandbox, identifier, offset=offset, until="\n", timeout_ms=LONG)
        before = 0 if offset is None or first["output"] != "1\n" else 1
        assert answer["missed_bytes"] > 0 and int(answer["output"]) == before + answer["missed_lines"] + 1
    sandbox.post("/kill_process", id=identifier)


def test_refusals(sandbox):
    identifier = sandbox.start("echo one")["id"]
    sandbox.ended(identifier)
    end = read(sandbox, identifier)["next_offset"]
    tag, offset, line = end.split("-")
    for wrong in ("x", "0", 17, end + "+", end + "+01", end + "x", f"{tag}-{int(offset) + 1}-{line}", f"{tag}-{int(offset) - 1}-{line}", f"{tag}-0-1", f"00000000-0-0"):
        answer = sandbox.post("/read_output", id=identifier, offset=wrong)
        assert answer.status_code == 400 and answer.json()["error"].startswith("Invalid offset"), wrong
    for body in ({"max_bytes": 3}, {"max_bytes": 1048577}, {"until": "x" * 4097}, {"encoding": "latin1"}, {"timeout_ms": -1}, {"settle_ms": "1"}):
        assert sandbox.post("/read_output", id=identifier, **body).status_code == 400, body
    assert sandbox.post("/read_output").status_code == 400
    assert sandbox.post("/read_output", id=UNKNOWN).status_code == 404
    answer = sandbox.post("/read_output", id=identifier, data="x")
    assert answer.status_code == 400 and answer.json()["error_code"] == "not_running"
    running = sandbox.start("exec sleep 1000")["id"]
    assert sandbox.post("/read_output", id=running, data="x").json()["error_code"] == "no_stdin"
    sandbox.post("/kill_process", id=running)


def test_a_process_that_is_forgotten(sandbox):
    identifier = sandbox.start("true")["id"]
    sandbox.ended(identifier)
    assert sandbox.post("/delete_process", id=identifier).json()["success"]
    assert sandbox.post("/read_output", id=identifier).status_code == 404


def test_many_at_once(sandbox):
    """They need no threads: all of them wait together, and each gets the same."""
    identifier = cat(sandbox)
    count = 60

    def wait_or_type(number):
        if number < count:
            return read(sandbox, identifier, until="go\n", timeout_ms=LONG)["output"]
        wait_until(lambda: streams(sandbox) >= count, "all wait")
        return sandbox.post("/write_stdin", id=identifier, data="ready\ngo\n").json()["written"]

    assert in_threads(count + 1, wait_or_type) == ["ready\ngo\n"] * count + [9]
    sandbox.post("/kill_process", id=identifier)


@pytest.mark.host
def test_a_client_that_leaves(server):
    identifier = cat(server)
    with server.raw() as raw:
        body = b'{"id": "%s", "timeout_ms": 1000000000}' % identifier.encode()
        raw.send(b"POST /read_output HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n%s" % (server.authorization, len(body), body))
        wait_until(lambda: streams(server) == 1, "it waits")
    wait_until(lambda: streams(server) == 0, "it has gone")


def read_through_deaths(server, daemon, identifier, offset):
    """The output of a process, in many answers, and how often the daemon was killed meanwhile."""
    output, why, kills = "", None, 0
    while why != "ended":
        answer = server.call("POST", "/read_output", {"id": identifier, "offset": offset, "settle_ms": 0, "max_bytes": 50, "timeout_ms": LONG}, timeout=2 * TIMEOUT)
        if answer.status_code == 200:
            answer = answer.json()
            output, offset, why = output + answer["output"], answer["next_offset"], answer["why"]
        else:
            assert answer.status_code in (409, 503), answer.text
        if kills < 3 and len(output) > 300 * (kills + 1):
            kills += 1
            server.kill_daemon(daemon, signal.SIGKILL)
    return output, kills


@pytest.mark.host
@pytest.mark.parametrize("daemon", ["fcgi-app", "procd"])
def test_resumes_when_a_daemon_was_killed(server, daemon):
    """No line is lost and none comes twice, wherever the answers are cut."""
    identifier = server.start("for i in $(seq 400); do echo $i; sleep 0.005; done")["id"]
    assert read_through_deaths(server, daemon, identifier, None) == ("".join(f"{number}\n" for number in range(1, 401)), 3)
