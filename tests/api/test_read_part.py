"""Parts of files: /read_file with offset, max_bytes, line and max_lines."""

import base64
import contextlib
import json
import os
import signal

import pytest

from sandbox import TIMEOUT, descriptors, wait_until

MEMBERS = {"content", "is_base64", "is_utf8", "offset", "truncated", "next_offset", "size", "etag", "total_lines"}


def make(sandbox, path, data):
    sandbox.shell('base64 -d >"$FILE"', env={"FILE": path}, stdin=base64.b64encode(data).decode())


def part(sandbox, path, **fields):
    answer = sandbox.post("/read_file", path=path, **fields)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) <= MEMBERS and "error" not in answer.json(), answer.text
    return answer.json()


def etag(sandbox, path):
    return sandbox.call("HEAD", f"/files{path}").headers["ETag"]


@pytest.mark.parametrize("fields, content, more", [
    ({"offset": 0}, "one\ntwo\nthree", {"offset": 0, "truncated": False}),
    ({"offset": 4}, "two\nthree", {"offset": 4, "truncated": False}),
    ({"offset": 2, "max_bytes": 3}, "e\nt", {"offset": 2, "truncated": True, "next_offset": 5}),
    ({"max_bytes": 12}, "one\ntwo\nthre", {"offset": 0, "truncated": True, "next_offset": 12}),
    ({"max_bytes": 13}, "one\ntwo\nthree", {"offset": 0, "truncated": False}),
    ({"max_bytes": 14}, "one\ntwo\nthree", {"offset": 0, "truncated": False}),
    ({"offset": 12, "max_bytes": 9007199254740991}, "e", {"offset": 12, "truncated": False}),
    ({"offset": 13}, "", {"offset": 13, "truncated": False}),
    ({"offset": 9007199254740991}, "", {"offset": 9007199254740991, "truncated": False}),
    ({"line": 1}, "one\ntwo\nthree", {"offset": 0, "truncated": False, "total_lines": 3}),
    ({"line": 2}, "two\nthree", {"offset": 4, "truncated": False, "total_lines": 3}),
    ({"line": 2, "max_lines": 1}, "two\n", {"offset": 4, "truncated": True, "next_offset": 8, "total_lines": 3}),
    ({"line": 3, "max_lines": 1}, "three", {"offset": 8, "truncated": False, "total_lines": 3}),
    ({"line": 4}, "", {"offset": 13, "truncated": False, "total_lines": 3}),
    ({"line": 9007199254740991, "max_lines": 9007199254740991}, "", {"offset": 13, "truncated": False, "total_lines": 3}),
    ({"max_lines": 2}, "one\ntwo\n", {"offset": 0, "truncated": True, "next_offset": 8, "total_lines": 3}),
    ({"max_lines": 3}, "one\ntwo\nthree", {"offset": 0, "truncated": False, "total_lines": 3}),
    ({"line": 2, "max_lines": 2, "max_bytes": 6}, "two\nth", {"offset": 4, "truncated": True, "next_offset": 10, "total_lines": 3}),
    ({"offset": 0, "max_lines": 1}, "one\n", {"offset": 0, "truncated": True, "next_offset": 4, "total_lines": 3}),
    ({"offset": 5, "max_lines": 1}, "wo\n", {"offset": 5, "truncated": True, "next_offset": 8}),
])
def test_parts(sandbox, workdir, fields, content, more):
    make(sandbox, f"{workdir}/file", b"one\ntwo\nthree")
    tag = etag(sandbox, f"{workdir}/file")
    assert part(sandbox, f"{workdir}/file", **fields) == {"content": content, "size": 13, "etag": tag, **more}
    encoded = base64.b64encode(content.encode()).decode()
    assert part(sandbox, f"{workdir}/file", **fields, encoding="base64") == {"content": encoded, "is_base64": True, "size": 13, "etag": tag, **more}


@pytest.mark.parametrize("fields, words", [
    ({"offset": -1}, "offset must be a whole number"), ({"max_bytes": -1}, "max_bytes must be a whole number"), ({"offset": 0.5}, "offset must be"),
    ({"offset": "1"}, "offset must be"), ({"line": True}, "line must be"), ({"offset": 1 << 53}, "offset must be"), ({"line": 0}, "line must be at least 1"),
    ({"max_lines": 0}, "max_lines must be at least 1"), ({"max_bytes": 0}, "max_bytes must be at least 1"), ({"offset": 0, "line": 1}, "offset and line exclude"),
])
def test_parts_that_are_none(sandbox, workdir, fields, words):
    make(sandbox, f"{workdir}/file", b"x")
    answer = sandbox.post("/read_file", path=f"{workdir}/file", **fields)
    assert answer.status_code == 400 and words in answer.json()["error"] and answer.json()["error_code"] == "invalid_request"


def test_members_come_only_for_those_who_ask(sandbox, workdir):
    """Published clients know `content` and `is_base64`."""
    make(sandbox, f"{workdir}/file", b"x")
    for absent in ({}, {"offset": None}, {"max_bytes": None, "line": None}, {"encoding": "utf-8"}):
        assert part(sandbox, f"{workdir}/file", **absent) == {"content": "x"}
    assert sandbox.post("/read_file", path=f"{workdir}/none", offset=1).json()["error_code"] == "not_found"


def test_an_empty_file(sandbox, workdir):
    make(sandbox, f"{workdir}/file", b"")
    tag = etag(sandbox, f"{workdir}/file")
    assert part(sandbox, f"{workdir}/file", line=1) == {"content": "", "offset": 0, "truncated": False, "size": 0, "etag": tag, "total_lines": 0}
    assert part(sandbox, f"{workdir}/file", offset=0) == {"content": "", "offset": 0, "truncated": False, "size": 0, "etag": tag}


TEXT = "aü€😀\n".encode() * 3 + b"\xf0\x9f\x98z\xe2\x82\xff\xc3" + "ü".encode()


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 16])
def test_no_character_is_cut(sandbox, workdir, step):
    """Parts side by side have each character once, whole, whether the client adds up by itself or goes on where it is told to."""
    make(sandbox, f"{workdir}/file", TEXT)
    parts = [part(sandbox, f"{workdir}/file", offset=offset, max_bytes=step) for offset in range(0, len(TEXT), step)]
    assert "".join(found["content"] for found in parts) == part(sandbox, f"{workdir}/file")["content"]
    pages, offset = [], 0
    while offset is not None:
        pages.append(part(sandbox, f"{workdir}/file", offset=offset, max_bytes=step))
        assert pages[-1]["offset"] <= offset < pages[-1].get("next_offset", len(TEXT) + 1)
        assert pages[-1]["truncated"] is ("next_offset" in pages[-1])
        offset = pages[-1].get("next_offset")
    assert "".join(found["content"] for found in pages) == part(sandbox, f"{workdir}/file")["content"]


def test_each_range_is_that_of_the_bytes(sandbox, workdir):
    """In base64 every part is exact."""
    make(sandbox, f"{workdir}/file", TEXT)
    for offset in range(0, len(TEXT) + 2, 5):
        for most in (1, 2, 3, 4, 100):
            found = part(sandbox, f"{workdir}/file", offset=offset, max_bytes=most, encoding="base64")
            assert base64.b64decode(found["content"]) == TEXT[offset:offset + most]
            assert found["truncated"] is (offset + most < len(TEXT)) and found["size"] == len(TEXT)


@pytest.mark.parametrize("encoding", ["utf-8", "base64"])
def test_large_files(sandbox, workdir, encoding):
    """Lines and offsets across the pieces in which a file is read."""
    lines = [b"%d %s\n" % (number, b"x" * (number % 97)) for number in range(20_000)]
    data = b"".join(lines) + b"end"
    make(sandbox, f"{workdir}/file", data)
    content = (lambda found: base64.b64decode(found["content"])) if encoding == "base64" else (lambda found: found["content"].encode())
    for line, most in ((1, 1), (1, 20_001), (1300, 3), (7777, 5000), (20_000, 5), (20_001, 1), (19_990, 10)):
        found = part(sandbox, f"{workdir}/file", line=line, max_lines=most, encoding=encoding)
        wanted = b"".join([*lines, b"end"][line - 1:line - 1 + most])
        assert content(found) == wanted and found["total_lines"] == 20_001 and found["offset"] == len(b"".join(lines[:line - 1]))
        assert found.get("next_offset", len(data)) == found["offset"] + len(wanted)
    for offset, most in ((65_530, 20), (65_536, 65_536), (131_000, 200_000), (len(data) - 4, 4), (3, len(data) - 3)):
        found = part(sandbox, f"{workdir}/file", offset=offset, max_bytes=most, encoding=encoding)
        assert content(found) == data[offset:offset + most] and found["truncated"] is (offset + most < len(data))


def test_files_without_a_size(sandbox, workdir):
    whole = part(sandbox, "/proc/version")["content"]
    found = part(sandbox, "/proc/version", line=1)
    assert found == {"content": whole, "offset": 0, "truncated": False, "size": len(whole), "total_lines": 1}
    assert part(sandbox, "/proc/version", offset=6, max_bytes=7) == {"content": whole[6:13], "offset": 6, "truncated": True, "next_offset": 13}
    assert part(sandbox, "/proc/version", offset=6) == {"content": whole[6:], "offset": 6, "truncated": False, "size": len(whole)}
    assert part(sandbox, "/proc/version", offset=100_000) == {"content": "", "offset": 100_000, "truncated": False}


def test_total_lines_are_not_counted_for_ever(sandbox, workdir):
    """Of 64 MiB behind the part at most. What comes before it must be counted."""
    sandbox.shell(f"echo one >{workdir}/file && truncate -s 200M {workdir}/file && echo >>{workdir}/file")
    size = (200 << 20) + 1
    found = part(sandbox, f"{workdir}/file", max_lines=1)
    assert found["content"] == "one\n" and "total_lines" not in found and found["size"] == size
    found = part(sandbox, f"{workdir}/file", line=3)
    assert found["content"] == "" and found["total_lines"] == 2 and found["offset"] == size


@pytest.mark.host
def test_counting_lets_go_of_a_client_that_leaves(server, tmp_path):
    """And of a stop."""
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(8 << 40)

    def is_read():
        return str(path) in descriptors(server.daemon("fcgi-app"))

    def ask():
        connection = server.connection(TIMEOUT)
        connection.request("POST", "/read_file", json.dumps({"path": str(path), "line": 2}), {"Authorization": server.authorization})
        wait_until(is_read, "the file to be read")
        return connection

    ask().close()
    wait_until(lambda: not is_read(), "the reading to end")
    with contextlib.closing(ask()) as connection:
        os.kill(server.launch.pid, signal.SIGTERM)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1"), answer.read()
        assert json.load(answer) == {"error": "The server is stopping", "error_code": "stopping"}
