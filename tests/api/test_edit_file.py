"""/edit_file: texts in a file are replaced, all of them or none, and the file stays what it was otherwise."""

import json
import os
import pathlib
import stat

import pytest

from sandbox import in_threads, user_ids
from test_files_raw import error_of, get, give

pytestmark = pytest.mark.host


@pytest.fixture
def file(workdir):
    path = pathlib.Path(workdir, "file.txt")
    path.write_bytes(b"one\ntwo\nthree two\n")
    return give(path)


def edit(sandbox, path, *edits, **members):
    return sandbox.post("/edit_file", path=str(path), edits=[dict(zip(("old_str", "new_str", "expected_count"), each)) for each in edits], **members)


def test_edits_in_their_order(sandbox, file):
    """Each is done in what the one before has left."""
    file.chmod(0o750)
    answer = edit(sandbox, file, ("one", "1"), ("two", "2\n2", 2), ("1\n2", "x"), ("absent", "y", 0))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert file.read_bytes() == b"x\n2\nthree 2\n2\n" and stat.S_IMODE(file.stat().st_mode) == 0o750
    assert body == {"etag": get(sandbox, file).headers["ETag"], "size_bytes": 14,
                    "edits": [{"count": 1, "lines": [1]}, {"count": 2, "lines": [2, 3]}, {"count": 1, "lines": [1]}, {"count": 0, "lines": []}]}
    assert os.listdir(file.parent) == ["file.txt"]


def test_all_or_none(sandbox, file):
    before = file.read_bytes(), file.stat().st_ino, file.stat().st_mtime_ns
    answer = edit(sandbox, file, ("one", "1"), ("two", "2"))
    assert error_of(answer, 409) == "edit_mismatch"
    assert {name: answer.json()[name] for name in ("edit", "count", "lines")} == {"edit": 1, "count": 2, "lines": [2, 3]}
    assert "edits[1] occurs 2 times, not 1" in answer.json()["error"]
    assert edit(sandbox, file, ("none", "1")).json()["lines"] == []
    assert (file.read_bytes(), file.stat().st_ino, file.stat().st_mtime_ns) == before


def test_of_many_places_the_first_lines_are_named(sandbox, file):
    file.write_text("x\n" * 1000)
    body = edit(sandbox, file, ("x", "y")).json()
    assert body["count"] == 1000 and body["lines"] == list(range(1, 21))
    assert edit(sandbox, file, ("x\n", "", 1000)).json()["size_bytes"] == 0
    assert file.read_bytes() == b""


@pytest.mark.parametrize("content, edits, after", [
    (b"aaa", [("aa", "b")], b"ba"),                                             # from left to right, without overlap
    (b"aaaa", [("aa", "aaa", 2)], b"aaaaaa"),                                   # what was put is not looked at again
    (b"a\0b\xff\xfe", [("\0", "\0\0")], b"a\0\0b\xff\xfe"),                     # bytes, also beside what is no UTF-8
    ("ä€\U0001f600".encode(), [("€\U0001f600", "\\\"\n")], "ä\\\"\n".encode()),
    (b"a\r\nb\r\n", [("a\r\nb", "a\nb")], b"a\nb\r\n"),                         # ends of lines are bytes, too
    (b"end", [("end", None)], b""),                                             # null is an empty text
    (b"same", [("same", "same")], b"same"),
])
def test_exact_bytes(sandbox, file, content, edits, after):
    file.write_bytes(content)
    assert edit(sandbox, file, *edits).status_code == 200
    assert file.read_bytes() == after


def test_ends_of_lines_are_not_guessed(sandbox, file):
    file.write_bytes(b"a\r\nb\r\n")
    answer = edit(sandbox, file, ("a\nb", "c"))
    assert error_of(answer, 409) == "edit_mismatch" and answer.json()["error"].endswith(r"lines of the file end with \r\n")


def test_missing_new_str_removes(sandbox, file):
    """Clients that leave empty members out."""
    assert sandbox.post("/edit_file", path=str(file), edits=[{"old_str": "one\n", "later": 1}]).status_code == 200
    assert file.read_bytes() == b"two\nthree two\n"


def test_halves_of_pairs(sandbox, file):
    """They are what /write_file makes of them."""
    body = json.dumps({"path": str(file), "content": "a\ud800b"})
    assert sandbox.call("POST", "/write_file", body.encode()).status_code == 200
    assert sandbox.call("POST", "/edit_file", json.dumps({"path": str(file), "edits": [{"old_str": "\ud800", "new_str": "\udc00c"}]}).encode()).status_code == 200
    assert file.read_text() == "a\ufffdcb"


@pytest.mark.parametrize("edits, fault", [
    ([], "edits is empty"),
    (["x"], "edits[0] must be an object"),
    ([{"new_str": "x"}], "edits[0].old_str is missing or empty"),
    ([{"old_str": "one"}, {"old_str": ""}], "edits[1].old_str is missing or empty"),
    ([{"old_str": 1}], "edits[0].old_str must be a string"),
    ([{"old_str": "one", "new_str": []}], "edits[0].new_str must be a string"),
    ([{"old_str": "one", "expected_count": -1}], "edits[0].expected_count must be a whole number in plain digits"),
    ([{"old_str": "one", "expected_count": "1"}], "edits[0].expected_count must be a whole number in plain digits"),
    ([{"old_str": "one"}] * 1001, "edits[1000]: at most 1000 edits at once"),
])
def test_wrong_edits(sandbox, file, edits, fault):
    answer = sandbox.post("/edit_file", path=str(file), edits=edits)
    assert error_of(answer, 400) == "invalid_request" and answer.json()["error"] == fault
    assert file.read_bytes() == b"one\ntwo\nthree two\n"


def test_wrong_members(sandbox, file):
    assert error_of(sandbox.post("/edit_file", path=str(file)), 400) == "invalid_request"
    assert error_of(sandbox.post("/edit_file", path=str(file), edits={}), 400) == "invalid_request"
    twice = f'{{"path": "{file}", "edits": [{{"old_str": "one", "old_str": "two"}}]}}'
    assert sandbox.call("POST", "/edit_file", twice.encode()).json()["error"] == "edits[0].old_str is given twice"


def test_if_match(sandbox, file):
    tag = get(sandbox, file).headers["ETag"]
    answer = edit(sandbox, file, ("one", "1"), if_match=tag)
    assert answer.status_code == 200
    assert error_of(edit(sandbox, file, ("1", "one"), if_match=tag), 412) == "precondition_failed"
    assert edit(sandbox, file, ("1", "one"), if_match=answer.json()["etag"]).status_code == 200
    assert file.read_bytes() == b"one\ntwo\nthree two\n"


def test_what_is_no_file(sandbox, file):
    os.mkfifo(file.parent / "fifo")
    for path, status, code in ((file.parent, 409, "is_a_directory"), (file.parent / "none", 404, "not_found"), (file / "x", 404, "not_a_directory"),
                               (file.parent / "fifo", 403, "unsupported"), ("/dev/null", 403, "unsupported"),
                               ("/proc/self/status", 403, "permission_denied")):
        assert error_of(edit(sandbox, path, ("one", "1")), status) == code, path


def test_links(sandbox, file):
    """A link stays and its target changes; a file with several names changes under all of them."""
    link, name = file.parent / "link", file.parent / "name"
    link.symlink_to("file.txt")
    assert edit(sandbox, link, ("one", "1")).status_code == 200
    assert link.is_symlink() and file.read_bytes().startswith(b"1\n")
    os.link(file, name)
    assert edit(sandbox, name, ("1", "one")).status_code == 200
    assert file.read_bytes() == name.read_bytes() == b"one\ntwo\nthree two\n"


def test_a_file_that_is_too_large(sandbox, file):
    with file.open("wb") as large:
        large.truncate((64 << 20) + 1)
    assert error_of(edit(sandbox, file, ("one", "1")), 413) == "too_large"
    file.write_bytes(b"x" * 70_000)
    assert error_of(edit(sandbox, file, ("x", "y" * 1000, 70_000)), 413) == "too_large"
    assert file.read_bytes() == b"x" * 70_000


def test_large_files_at_once(sandbox, workdir):
    def change(number):
        path = give(pathlib.Path(workdir, str(number)))
        return edit(sandbox, path, ("needle", f"found {number}")).status_code
    for number in range(6):
        pathlib.Path(workdir, str(number)).write_bytes(b"x" * 5_000_000 + b"needle" + b"y" * 1_000_000)
    assert in_threads(6, change) == [200] * 6
    assert all(pathlib.Path(workdir, str(number)).read_bytes() == b"x" * 5_000_000 + b"found %d" % number + b"y" * 1_000_000 for number in range(6))


def test_clients_that_edit_one_file_take_turns(sandbox, file):
    """None of their edits is lost."""
    file.write_text("".join(f"<{number}>\n" for number in range(16)))
    give(file)
    assert in_threads(16, lambda number: edit(sandbox, file, (f"<{number}>", f"[{number}]")).status_code) == [200] * 16
    assert file.read_text() == "".join(f"[{number}]\n" for number in range(16))


def test_a_file_without_a_size(sandbox, file):
    """One of /proc is read to its end."""
    answer = edit(sandbox, "/proc/version", ("Linux", "Other", 0))
    assert error_of(answer, 409) == "edit_mismatch" and answer.json()["count"] > 0


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_the_commands_user(make_server, workdir):
    server = make_server({"SANDBOX_USER": "nobody"})
    os.chmod(workdir, 0o777)
    path = pathlib.Path(workdir, "file")
    path.write_text("one")
    for mode in (0o644, 0o600):
        path.chmod(mode)
        assert error_of(edit(server, path, ("one", "1")), 403) == "permission_denied"
    os.chown(path, *user_ids("nobody"))
    assert edit(server, path, ("one", "1")).status_code == 200
    assert path.read_text() == "1" and (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (user_ids("nobody")[0], 0o600)
