"""
The examples of the README, of docs/examples.md and docs/files.md, run as they stand. A ```bash block with `curl` and `$SANDBOX_URL` is an example; a
```json or ```text block directly after it is its answer. In JSON the string "…" stands for any value, in a text "…" for anything in its line; longer
strings may contain it too; of the numbers in VARYING only the type is compared. The blocks run in their order in one shell, so that a variable set by one is there for the next.
"""

import json
import pathlib
import re
import subprocess

import pytest

from sandbox import API, BIG_TIMEOUT, REPOSITORY

README, EXAMPLES, FILES = REPOSITORY / "README.md", REPOSITORY / "docs/examples.md", REPOSITORY / "docs/files.md"
BLOCK = re.compile(r"^```bash\n(?P<command>.*?)^```\n(?:\n?^```(?P<kind>json|text)\n(?P<answer>.*?)^```$)?", re.M | re.S)


def examples(document):
    """[(command, kind of the answer or None, answer)] in order."""
    found = [match.groups() for match in BLOCK.finditer(document.read_text())]
    return [(command, kind, answer) for command, kind, answer in found if "curl" in command and "$SANDBOX_URL" in command]


VARYING = {"pid", "duration_ms", "max_rss_kb", "cpu_user_ms", "cpu_system_ms"}


def matches(expected, actual):
    if isinstance(expected, str) and "…" in expected:
        return expected == "…" or isinstance(actual, str) and text_pattern(expected, ".*").fullmatch(actual) is not None
    if isinstance(expected, dict):
        return isinstance(actual, dict) and expected.keys() == actual.keys() and all(
            isinstance(actual[key], int) if key in VARYING and isinstance(expected[key], int) else matches(expected[key], actual[key]) for key in expected)
    if isinstance(expected, list):
        return isinstance(actual, list) and len(expected) == len(actual) and all(map(matches, expected, actual))
    return type(expected) is type(actual) and expected == actual


def text_pattern(expected, anything="[^\n]*"):
    return re.compile(anything.join(map(re.escape, expected.split("…"))), re.S if anything == ".*" else 0)


def run(sandbox, commands, directory):
    """Runs the commands in one shell; what each printed."""
    script = "".join(f"{{\n{command}\n}} >{directory}/{number}.out 2>{directory}/{number}.err </dev/null\n" for number, command in enumerate(commands))
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "SANDBOX_URL": sandbox.url, "SANDBOX_TOKEN": sandbox.secret, "HOME": str(directory)}
    subprocess.run(["bash", "-c", script], env=environment, cwd=directory, timeout=BIG_TIMEOUT, check=False)
    return [(pathlib.Path(directory, f"{number}.out").read_text(), pathlib.Path(directory, f"{number}.err").read_text())
            for number in range(len(commands))]


def test_there_are_examples():
    assert sum(kind is not None for _, kind, _ in examples(EXAMPLES)) >= 15
    assert sum(kind is not None for _, kind, _ in examples(README)) == 5


def test_the_readme_is_short():
    assert len(README.read_bytes()) <= 9 * 1024


ENDPOINTS = ["/health", *(path for _, path in API)]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_has_an_example(endpoint):
    assert any(re.search(rf"\$SANDBOX_URL{endpoint}\b", command) for command, _, _ in examples(EXAMPLES))


@pytest.mark.parametrize("document", [README, EXAMPLES, FILES], ids=lambda document: document.name)
def test_the_examples(sandbox, proxy, tmp_path, document):
    found = examples(document)
    outputs = run(sandbox, [command for command, _, _ in found], tmp_path)
    wrong = []
    for (command, kind, answer), (out, err) in zip(found, outputs):
        if kind == "json":
            try:
                good = matches(json.loads(answer), json.loads(out))
            except ValueError:
                good = False
        else:
            good = kind is None or text_pattern(answer.strip("\n")).fullmatch(out.strip("\n")) is not None
        if not good:
            wrong.append(f"{command}\nexpected\n{answer}\ngot\n{out}{err}")
    assert not wrong, "\n".join(wrong)


def test_the_wildcard():
    """The comparison itself tells right from wrong."""
    assert matches({"a": "…", "b": [1, "x…z"]}, {"a": {"any": 1}, "b": [1, "xyz"]})
    for expected, actual in (({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1, "b": 2}), (["…"], []), ("x…", "y"), ({"a": "1"}, {"a": 1})):
        assert not matches(expected, actual)
    assert matches({"pid": 1}, {"pid": 2}) and not matches({"pid": 1}, {"pid": "2"}) and not matches({"code": 1}, {"code": 2})
    assert text_pattern("id: …\nx").fullmatch("id: 12\nx") and not text_pattern("id: …\nx").fullmatch("id: 1\n2\nx")
