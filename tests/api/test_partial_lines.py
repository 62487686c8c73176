"""partial_ms: an unfinished line is sent after that time, so that a prompt is seen."""

import pytest

from sandbox import TIMEOUT

LONG = int(TIMEOUT * 1000)
PROMPTS = "printf 'name? '; read name; printf 'really %s? ' $name; read yes; echo done"


def lines_of(events):
    """What was printed, by stream: pieces put together."""
    text = {"stdout": "", "stderr": ""}
    for event in events:
        if event.name in ("log", "output"):
            text[event.data["stream"]] += event.data["data"] + ("" if event.data.get("continued") else "\n")
    return text


def test_prompts_of_a_process(sandbox):
    """They are in the log, so every reader sees the same: streams, resumed ones, and /read_output."""
    identifier = sandbox.start(PROMPTS, stdin=True, partial_ms=20)["id"]
    with sandbox.logs(identifier) as stream:
        first = stream.next()
        assert first.data["data"] == "name? " and first.data["continued"] is True
        answer = sandbox.call("POST", "/read_output", {"id": identifier, "data": "x\n", "until": "? ", "timeout_ms": LONG}).json()
        assert answer["output"] == "really x? "
        assert sandbox.post("/write_stdin", id=identifier, data="y\n").json()["success"]
        rest = stream.events()
    assert lines_of([first, *rest]) == {"stdout": "name? really x? done\n", "stderr": ""}
    assert [event.data.get("continued") for event in [first, *rest][:-1]] == [True, True, None]
    with sandbox.logs(identifier, headers={"Last-Event-ID": first.id}) as stream:
        assert [event.id for event in stream.events()] == [event.id for event in rest]
    assert sandbox.call("POST", "/read_output", {"id": identifier}).json()["output"] == "name? really x? done\n"


def test_a_line_without_an_end(sandbox):
    """Its last piece says that nothing follows, also when that piece is empty."""
    identifier = sandbox.start("printf 'a? '; read x; printf 'b? '; read x", stdin=True, partial_ms=0)["id"]
    for prompt in ("a? ", "b? "):
        assert sandbox.call("POST", "/read_output", {"id": identifier, "until": prompt, "timeout_ms": LONG}).json()["why"] == "until"
        assert sandbox.post("/write_stdin", id=identifier, data="\n").json()["success"]
    sandbox.ended(identifier)
    with sandbox.logs(identifier) as stream:
        events = stream.events()
    assert [(event.data["data"], event.data.get("continued")) for event in events[:-1]] == [("a? ", True), ("b? ", True), ("", None)]


def test_without_it_lines_are_whole(sandbox):
    identifier = sandbox.start("printf 'a'; sleep 0.2; echo b; printf c")["id"]
    sandbox.ended(identifier)
    with sandbox.logs(identifier) as stream:
        assert [event.data for event in stream.events()[:-1] if "continued" in event.data] == []
    with sandbox.stream("printf 'a'; sleep 0.2; echo b; printf c") as stream:
        assert [event.data for event in stream.events()[:-1]] == [{"stream": "stdout", "data": "ab"}, {"stream": "stdout", "data": "c"}]


def test_run_streaming(sandbox, tmp_path):
    gate = f"while [ ! -e {tmp_path}/%s ]; do sleep 0.01; done"
    with sandbox.stream(f"printf 'a\\303'; {gate % 1}; printf '\\244b\\r'; printf e >&2; {gate % 2}; echo; printf end", partial_ms=10) as stream:
        events = [stream.next()]
        assert events[0].data == {"stream": "stdout", "data": "a", "continued": True}
        sandbox.shell(f"touch {tmp_path}/1")
        events += [stream.next(), stream.next()]
        assert sorted((event.data["stream"], event.data["data"], event.data["continued"]) for event in events[1:]) == [("stderr", "e", True), ("stdout", "äb", True)]
        sandbox.shell(f"touch {tmp_path}/2")
        events += stream.events()
    assert lines_of(events) == {"stdout": "aäb\nend\n", "stderr": "e\n"}
    assert [int(event.id) for event in events] == list(range(len(events)))


@pytest.mark.parametrize("path", ["/start_process", "/run_streaming"])
def test_refusals(sandbox, path):
    for wrong in (600001, -1, "1", True):
        assert sandbox.post(path, cmd="true", partial_ms=wrong).status_code == 400


def test_a_bar_of_progress(sandbox):
    """\\r does not end a line: each state is a piece, at most one in partial_ms for each stream."""
    with sandbox.stream("for i in 1 2 3 4 5; do printf '\\r%d0%%' $i; sleep 0.05; done; echo", partial_ms=20) as stream:
        events = stream.events()
    assert lines_of(events)["stdout"] == "".join(f"\r{number}0%" for number in range(1, 6)) + "\n"
    assert len(events) > 3
