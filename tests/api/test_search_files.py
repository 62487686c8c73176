"""/find_files and /search_files: trees and lines, in order, in pages, as the user of the commands."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import urllib.parse

import pytest

from sandbox import DEADLINE, SANITIZED, RawConnection, http_request, in_threads, proc_file, wait_until
from test_files_raw import error_of, give

pytestmark = pytest.mark.host


# prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN), which children inherit, as MemoryDenyWriteExecute=yes does it by a filter.
DENY = """import ctypes, os, sys
if ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) != 0: sys.exit("no PR_SET_MDWE")
os.execvp(sys.argv[1], sys.argv[1:])"""


@pytest.fixture
def tree(workdir):
    root = pathlib.Path(workdir)
    for path, content in {"a.c": "int main;\nneedle();\n", "b/x.h": "/* needle */\n", "b/y.txt": "nothing\n", "b-c": "needle needle\nNeedle\n", "b/d/e/z.c": "x\n"}.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    for path in (root, *root.rglob("*")):
        give(path)
    return root


def find(sandbox, path, **fields):
    answer = sandbox.post("/find_files", path=str(path), **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def search(sandbox, path, pattern, **fields):
    answer = sandbox.post("/search_files", path=str(path), pattern=pattern, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def below(root, entries):
    return [os.path.relpath(entry["path"], root) for entry in entries]


def places(root, answer):
    return [(os.path.relpath(match["path"], root), match["line"], match["column"]) for match in answer["matches"]]


# ---- find ----


def test_find(sandbox, tree):
    answer = find(sandbox, tree)
    assert below(tree, answer["entries"]) == ["a.c", "b", "b/d", "b/d/e", "b/d/e/z.c", "b/x.h", "b/y.txt", "b-c"]
    assert (answer["truncated"], answer["unreadable"]) == (False, 0) and "next_cursor" not in answer
    entry = answer["entries"][0]
    assert {name: entry[name] for name in ("path", "name", "type", "is_dir", "size", "mode")} == {
        "path": f"{tree}/a.c", "name": "a.c", "type": "file", "is_dir": False, "size": 20, "mode": f"{(tree / 'a.c').stat().st_mode & 0o7777:04o}"}


@pytest.mark.parametrize("glob, expected", [
    ("*.c", ["a.c", "b/d/e/z.c"]),
    ("*.{c,h}", ["a.c", "b/d/e/z.c", "b/x.h"]),
    ("/*.c", ["a.c"]),
    ("./*.c", ["a.c"]),
    ("b/*", ["b/d", "b/x.h", "b/y.txt"]),
    ("b/**", ["b/d", "b/d/e", "b/d/e/z.c", "b/x.h", "b/y.txt"]),
    ("**/e/*", ["b/d/e/z.c"]),
    ("**/z.c", ["b/d/e/z.c"]),
    ("b/**/z.c", ["b/d/e/z.c"]),
    ("b/**/x.h", ["b/x.h"]),
    ("[!a]*.?", ["b/d/e/z.c", "b/x.h"]),
    ("[a-b]", ["b"]),
    ("{b,a}?{c,txt}", ["a.c", "b-c"]),
    ("/b/*/*", ["b/d/e"]),
    ("none", []),
])
def test_globs(sandbox, tree, glob, expected):
    assert below(tree, find(sandbox, tree, glob=glob)["entries"]) == expected


@pytest.mark.parametrize("glob, fault", [("[a", "a [ is not closed"), ("{a,b", "a { is not closed"), ("a\\", "a \\ is its last character"),
                                         ("x" * 1025, "it is longer than 1024 bytes"), ("{a,b}" * 7, "it has more than 64 alternatives")])
def test_wrong_globs(sandbox, tree, glob, fault):
    for path, fields in (("/find_files", {}), ("/search_files", {"pattern": "x"})):
        answer = sandbox.post(path, path=str(tree), glob=glob, **fields)
        assert error_of(answer, 400) == "invalid_request" and answer.json()["error"] == f"glob: {fault}"


def test_types(sandbox, tree):
    (tree / "link").symlink_to("a.c")
    os.mkfifo(tree / "fifo")
    assert below(tree, find(sandbox, tree, type="directory")["entries"]) == ["b", "b/d", "b/d/e"]
    assert below(tree, find(sandbox, tree, type="symlink")["entries"]) == ["link"]
    assert below(tree, find(sandbox, tree, type="fifo")["entries"]) == ["fifo"]
    assert find(sandbox, tree, type="symlink")["entries"][0]["link_target"] == "a.c"
    answer = sandbox.post("/find_files", path=str(tree), type="dir")
    assert error_of(answer, 400) == "invalid_request" and "directory, symlink" in answer.json()["error"]


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_pages_of_find(sandbox, tree, limit):
    found, cursor = [], None
    while True:
        answer = find(sandbox, tree, limit=limit, cursor=cursor)
        found += below(tree, answer["entries"])
        assert len(answer["entries"]) <= limit and answer["truncated"] == ("next_cursor" in answer)
        cursor = answer.get("next_cursor")
        if cursor is None:
            break
    assert found == below(tree, find(sandbox, tree)["entries"])


def test_a_page_after_its_place_has_gone(sandbox, tree):
    cursor = find(sandbox, tree, limit=3)["next_cursor"]
    shutil.rmtree(tree / "b/d")
    assert below(tree, find(sandbox, tree, cursor=cursor)["entries"]) == ["b/x.h", "b/y.txt", "b-c"]


@pytest.mark.parametrize("cursor", ["x", "1", ":", "1:%00", "99999999999999999999999:x", "-1:x"])
def test_wrong_cursors(sandbox, tree, cursor):
    assert error_of(sandbox.post("/find_files", path=str(tree), cursor=cursor), 400) == "invalid_request"
    assert error_of(sandbox.post("/search_files", path=str(tree), pattern="x", cursor=cursor), 400) == "invalid_request"


def test_wrong_limits(sandbox, tree):
    assert error_of(sandbox.post("/find_files", path=str(tree), limit=0), 400) == "invalid_request"
    assert error_of(sandbox.post("/search_files", path=str(tree), pattern="x", limit=0), 400) == "invalid_request"
    assert error_of(sandbox.post("/search_files", path=str(tree), pattern="x", context_lines=21), 400) == "invalid_request"


def test_what_is_no_directory(sandbox, tree):
    for path, status, code in ((tree / "none", 404, "not_found"), (tree / "a.c/x", 404, "not_a_directory")):
        assert error_of(sandbox.post("/find_files", path=str(path)), status) == code
        assert error_of(sandbox.post("/search_files", path=str(path), pattern="x"), status) == code
    assert error_of(sandbox.post("/find_files", path=str(tree / "a.c")), 404) == "not_a_directory"
    assert error_of(sandbox.post("/search_files", path="/dev/zero", pattern="x"), 403) == "unsupported"


# ---- search ----


def test_search(sandbox, tree):
    answer = search(sandbox, tree, "needle")
    assert places(tree, answer) == [("a.c", 2, 1), ("b/x.h", 1, 4), ("b-c", 1, 1)]
    assert answer["matches"][1] == {"path": f"{tree}/b/x.h", "line": 1, "column": 4, "text": "/* needle */"}
    assert (answer["truncated"], answer["unreadable"]) == (False, 0)
    assert search(sandbox, tree, "needle", fixed=True) == answer


def test_the_same_as_grep(sandbox, workdir):
    """In sources of this project, of which some are not UTF-8 any more."""
    root = pathlib.Path(workdir, "tree")
    shutil.copytree(pathlib.Path(__file__).parents[2] / "fcgi-app", root)
    (root / "latin").write_bytes(b"caf\xe9 static\r\n\xff\xfeint x\nno end static")
    (root / "crlf").write_bytes(b"static\r\nint\r\n")
    (root / "spaces").write_text("x\xe0b\nx\xa0b\nx b\n\xa9x\n\xe9x\n\xa0end without newline", encoding="utf-8")
    subprocess.run(["chmod", "-R", "a+rX", workdir], check=True)
    for pattern in (r"static", r"^static", r"\)$", r"int \w+\(", r"[^ ]+;$", r"x*", r"^$", r"\bif\b.*\{$", r"(?<=struct )\w+", r"(?i)NULL", r"a.e", r"\s\s\s\*", r"[\s]return[\s;]",
                    r"(const|static) [a-z_]+ \*?", r"\S+\s+=\s+\S+", r"[^\n]{90,}", r"(\w)\1\1", r"foo(?!\w)", r"\A#include", r"d\z", r"[^x]*fd[^x]*close",
                    r"[a-z]+\(e", r"\w+\s*=\s*NULL;", r"[a-z_]+q", r"(int|char) \w+z", r"[A-Z]+_x?Z", r"(abc)?k", r"(a|bz)+Q?;", r"\d*}",  # one byte that must be there
                    r"\hb", r"[\h]b", r"x\h", r"[é]x", r"[é\xa0]", r"e$", r"$", r"z*$"):
        listed = subprocess.run(["grep", "-rnP", "--null", "-a", pattern, str(root)], stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=False).stdout
        expected = {(os.fsdecode(path), int(line)) for path, line in re.findall(rb"^([^\0\n]+)\0(\d+):", listed, re.M)}
        found = [(match["path"], match["line"]) for match in search(sandbox, root, pattern, limit=1000000)["matches"]]
        assert len(found) == len(set(found))
        different = {path for path, _ in set(found) ^ expected}
        assert different <= {f"{root}/latin", f"{root}/crlf"}, (pattern, sorted(set(found) ^ expected)[:5])


def test_ends_of_lines(sandbox, tree):
    (tree / "a.c").write_bytes(b"one\r\ntwo\r\n\r\nlast one")
    assert [(match["line"], match["text"]) for match in search(sandbox, tree / "a.c", "one$")["matches"]] == [(1, "one"), (4, "last one")]
    assert [match["line"] for match in search(sandbox, tree / "a.c", "^$")["matches"]] == [3]
    assert search(sandbox, tree / "a.c", "one\\s+two")["matches"] == []
    assert search(sandbox, tree / "a.c", "two\r", fixed=True)["matches"] == []
    assert error_of(sandbox.post("/search_files", path=str(tree), pattern="a\nb", fixed=True), 400) == "invalid_request"


def test_ignoring_case(sandbox, tree):
    (tree / "a.c").write_text("STRASSE äÖ\n")
    assert places(tree, search(sandbox, tree, "NEEDLE", ignore_case=True)) == [("b/x.h", 1, 4), ("b-c", 1, 1), ("b-c", 2, 1)]
    assert places(tree, search(sandbox, tree, "strasse ÄÖ", ignore_case=True)) == [("a.c", 1, 1)]
    assert places(tree, search(sandbox, tree, "ÄÖ", ignore_case=True, fixed=True)) == [("a.c", 1, 9)]
    assert places(tree, search(sandbox, tree, "[äé]Ö")) == [("a.c", 1, 9)]


def test_special_characters_of_a_fixed_text(sandbox, tree):
    (tree / "a.c").write_text("a.b*(c)[d]\\e\naxb*(c)[d]\\e\n")
    for ignore_case in (False, True):
        assert places(tree, search(sandbox, tree, "a.b*(c)[d]\\e", fixed=True, ignore_case=ignore_case)) == [("a.c", 1, 1)]


def test_context(sandbox, tree):
    (tree / "a.c").write_text("".join(f"line {number}\n" for number in range(1, 101)))
    matches = search(sandbox, tree / "a.c", "line (1|50|100)$", context_lines=2)["matches"]
    assert [(match["line"], match["before"], match["after"]) for match in matches] == [
        (1, [], ["line 2", "line 3"]), (50, ["line 48", "line 49"], ["line 51", "line 52"]), (100, ["line 98", "line 99"], [])]


def test_context_and_line_numbers_in_a_large_file(sandbox, tree):
    """Its parts are searched one after the other."""
    lines = [f"{number} {'x' * (number % 300)}" for number in range(1, 20001)]
    (tree / "a.c").write_text("\n".join(lines))
    for pattern in ("^(\\d*)77 ", "^(?=\\d*77 )"):
        matches = search(sandbox, tree / "a.c", pattern, context_lines=3, limit=100000)["matches"]
        assert [match["line"] for match in matches] == [number for number in range(1, 20001) if number % 100 == 77]
        for match in matches:
            assert match["text"] == lines[match["line"] - 1]
            assert match["before"] == lines[max(match["line"] - 4, 0):match["line"] - 1]
            assert match["after"] == lines[match["line"]:match["line"] + 3]


def test_long_lines(sandbox, tree):
    """What is shown of them is around the match; the longest are searched in pieces."""
    (tree / "a.c").write_text("short\n" + "é" * 3000 + "needle" + "é" * 3000 + "\n" + "y" * 300_000 + "needle" + "y" * 300_000 + "\nend needle\n")
    first, second, third = search(sandbox, tree / "a.c", "needle", fixed=True)["matches"]
    assert (first["line"], first["column"]) == (2, 6001) and "\ufffd" not in first["text"] and len(first["text"].encode()) >= 1020
    assert first["text"].encode().index(b"needle") + first["text_column"] == first["column"]
    assert (second["line"], second["column"]) == (3, 300_001)
    assert second["text"].index("needle") + second["text_column"] == second["column"] and len(second["text"]) == 1024
    assert third == {"path": str(tree / "a.c"), "line": 4, "column": 5, "text": "end needle"}


def test_binary_files_are_skipped(sandbox, tree):
    (tree / "a.c").write_bytes(b"needle\0\n")
    (tree / "b-c").write_bytes(b"needle\n" + b"x" * 9000 + b"\0\n")
    assert places(tree, search(sandbox, tree, "needle")) == [("b/x.h", 1, 4), ("b-c", 1, 1)]


def test_links_are_not_followed_and_special_files_not_read(sandbox, tree):
    """Nothing waits for the other end of a FIFO."""
    (tree / "b/d/up").symlink_to(tree)
    (tree / "b/circle").symlink_to("circle")
    (tree / "link.c").symlink_to("a.c")
    os.mkfifo(tree / "fifo")
    assert places(tree, search(sandbox, tree, "needle")) == [("a.c", 2, 1), ("b/x.h", 1, 4), ("b-c", 1, 1)]
    assert below(tree, find(sandbox, tree, glob="up")["entries"]) == ["b/d/up"]
    (tree.parent / f"{tree.name}-link").symlink_to(tree)
    with contextlib.closing(contextlib.ExitStack()) as stack:
        stack.callback(os.unlink, f"{tree}-link")
        assert len(search(sandbox, f"{tree}-link", "needle")["matches"]) == 3  # the path itself may be one


def test_one_file(sandbox, tree):
    assert places(tree, search(sandbox, tree / "b-c", "needle")) == [("b-c", 1, 1)]
    answer = search(sandbox, tree / "b-c", "(?i)needle", limit=1)
    assert [match["line"] for match in search(sandbox, tree / "b-c", "(?i)needle", cursor=answer["next_cursor"])["matches"]] == [2]


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_of_search(sandbox, tree, limit):
    found, cursor = [], None
    while True:
        answer = search(sandbox, tree, "(?i)needle", limit=limit, cursor=cursor)
        found += places(tree, answer)
        cursor = answer.get("next_cursor")
        if cursor is None:
            break
    assert found == [("a.c", 2, 1), ("b/x.h", 1, 4), ("b-c", 1, 1), ("b-c", 2, 1)]


def test_globs_of_search(sandbox, tree):
    assert places(tree, search(sandbox, tree, "needle", glob="*.[ch]")) == [("a.c", 2, 1), ("b/x.h", 1, 4)]


def test_names_that_are_no_utf8(sandbox, tree):
    name = b"caf\xe9 %"
    pathlib.Path(os.fsdecode(os.fsencode(tree) + b"/" + name)).write_text("needle in it\n")
    entry = find(sandbox, tree, glob="caf*")["entries"][0]
    assert entry["path"] == f"{tree}/caf\ufffd %" and urllib.parse.unquote_to_bytes(entry["path_escaped"]) == os.fsencode(tree) + b"/" + name
    match = search(sandbox, tree, "needle in")["matches"][0]
    assert match["path_escaped"] == entry["path_escaped"]
    cursor = find(sandbox, tree, limit=7)["next_cursor"]
    assert below(tree, find(sandbox, tree, cursor=cursor)["entries"]) == ["b-c", "caf\ufffd %"]
    assert find(sandbox, tree, cursor=find(sandbox, tree, glob="caf?\\ %", limit=1)["next_cursor"])["entries"] == []


@pytest.mark.parametrize("pattern", ["(", "[a", "a{2,1}", "(?<n", "\\", "(?P>x)", "x" * 40000, "(" * 300 + ")" * 300])
def test_wrong_patterns(sandbox, tree, pattern):
    answer = sandbox.post("/search_files", path=str(tree), pattern=pattern)
    assert error_of(answer, 400) == "invalid_request" and answer.json()["error"].startswith("pattern")


@pytest.mark.parametrize("pattern", ["(x+x+)+y", "(?:(?=x)x+x+)+y", "(x|x|x)*z"])
def test_a_pattern_that_explodes(sandbox, tree, pattern):
    (tree / "a.c").write_text("needle\n" + "x" * 1000 + " yz\n")
    answer = sandbox.post("/search_files", path=str(tree), pattern=pattern)
    assert error_of(answer, 400) == "invalid_request"
    assert answer.json()["error"] == f"pattern: It needs too many steps in line 2 of {tree}/a.c"


def test_a_pattern_that_explodes_after_much_was_sent(sandbox, tree):
    """What was found is a whole answer with an error in it."""
    (tree / "a.c").write_text("needle\n" * 5000 + "x" * 1000 + " y\n")
    answer = sandbox.post("/search_files", path=str(tree), pattern="needle|(x+x+)+y", limit=10000)
    assert answer.status_code == 200
    body = answer.json()
    assert len(body["matches"]) == 5000 and body["truncated"] and body["error_code"] == "invalid_request"


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_cannot_be_read_is_counted(make_server, tree):
    subprocess.run(["chmod", "-R", "a+rX", tree], check=True)
    (tree / "a.c").chmod(0o600)
    (tree / "b/d").chmod(0o700)
    server = make_server({"SANDBOX_USER": "nobody"})
    answer = search(server, tree, "needle")
    assert places(tree, answer) == [("b/x.h", 1, 4), ("b-c", 1, 1)] and answer["unreadable"] == 2
    answer = find(server, tree)
    assert below(tree, answer["entries"]) == ["a.c", "b", "b/d", "b/x.h", "b/y.txt", "b-c"] and answer["unreadable"] == 1
    assert error_of(server.post("/find_files", path=str(tree / "b/d")), 403) == "permission_denied"


def test_the_kernels_files(sandbox):
    assert error_of(sandbox.post("/search_files", path="/proc", pattern="x"), 403) == "unsupported"
    assert error_of(sandbox.post("/search_files", path="/sys/kernel", pattern="x"), 403) == "unsupported"
    answer = find(sandbox, "/", glob="/{proc,sys,proc/*,sys/*}")
    assert [entry["path"] for entry in answer["entries"]] == ["/proc", "/sys"]


def test_a_tree_that_changes(sandbox, tree):
    """A walk ends, and finds what stays."""
    ended = threading.Event()

    def change(number):
        place = tree / f"changing-{number}"
        while not ended.is_set():
            (place / "deep/er").mkdir(parents=True, exist_ok=True)
            (place / "deep/er/file").write_text("needle\n")
            os.rename(place / "deep", place / "moved")
            shutil.rmtree(place)

    def look():
        try:
            for _ in range(30):
                found = {os.path.relpath(match["path"], tree) for match in search(sandbox, tree, "needle")["matches"]}
                assert {"a.c", "b/x.h", "b-c"} <= found
                assert {"b/d/e/z.c", "b-c"} <= set(below(tree, find(sandbox, tree)["entries"]))
        finally:
            ended.set()

    in_threads(3, lambda number: look() if number == 2 else change(number))


def begin(server, endpoint, **fields):
    """A request on a connection of its own, whose client does not read."""
    body = json.dumps(fields).encode()
    raw = RawConnection(server.host, server.port)
    raw.send(http_request("POST", endpoint, [("Host", "x"), server.bearer(), ("Content-Length", str(len(body)))], body))
    return raw


def find_status(server, path):
    return server.post("/find_files", path=str(path), limit=1).status_code


def begin_search(server, root, pattern):
    """It has the server's only place among the transfers."""
    raw = begin(server, "/search_files", path=str(root), pattern=pattern)
    wait_until(lambda: find_status(server, root) == 503, "the search has the only place")
    return raw


def test_a_slow_pattern_whose_client_leaves(make_server, tree):
    """From each place of each line PCRE2 takes many steps, but not too many: it is not to be waited for."""
    (tree / "a.c").write_text(("x" * 900 + "\n") * 1000)
    server = make_server({"SANDBOX_MAX_TRANSFERS": "1"})
    with begin_search(server, tree, "(*NO_JIT)x*x*x*[yz]"):
        pass
    wait_until(lambda: server.post("/find_files", path=str(tree)).status_code == 200, "the search has ended", 4 * DEADLINE)


def test_a_line_of_many_slow_places(sandbox, tree):
    """It is searched in parts, and what matches is found in each."""
    (tree / "a.c").write_text("é" * 330 + "x" * 270 + "é" * 330 + "x" * 270 + "w" + "é" * 330 + "x" * 260 + "z\n")
    for pattern in ("(*NO_JIT)x*x*x*w", "(*NO_JIT)x*x*x*[yz]"):
        answer = search(sandbox, tree / "a.c", pattern)
        assert [(match["line"], match["column"]) for match in answer["matches"]] == [(1, 1 + 660 + 270 + 660 if "z]" not in pattern else 1 + 660 + 270 + 660 + 270 + 1 + 660)], pattern


def test_a_search_whose_client_leaves(make_server, workdir):
    """It ends, and gives its place among the transfers back."""
    server = make_server({"SANDBOX_MAX_TRANSFERS": "1"})
    root = pathlib.Path(workdir)
    with open(root / "large", "wb") as large:
        large.write(b"x\n" * 5000)
        large.truncate(1 << 40)  # zeros behind the first bytes: it takes for ever
    subprocess.run(["chmod", "-R", "a+rX", workdir], check=True)
    with begin_search(server, root, "needle"):
        assert server.post("/stat_file", path=str(root)).status_code == 200
        answer = server.post("/search_files", path=str(root), pattern="needle")
        assert error_of(answer, 503) == "unavailable" and answer.headers["Retry-After"]
    wait_until(lambda: server.post("/find_files", path=str(root)).status_code == 200, "the search has ended")


def test_a_walk_whose_client_leaves(make_server, workdir):
    """It waits for the client to read, and ends without it."""
    server = make_server({"SANDBOX_MAX_TRANSFERS": "1"})
    root = pathlib.Path(workdir, *["n" * 250] * 10)  # which is in each entry of the answer
    root.mkdir(parents=True)
    (root / "0").touch()
    for number in range(1, 20000):
        os.link(root / "0", root / str(number))
    subprocess.run(["chmod", "-R", "a+rX", workdir], check=True)
    with begin(server, "/find_files", path=str(root), limit=1_000_000):
        wait_until(lambda: find_status(server, "/etc") == 503, "the walk has the only place")
        assert server.post("/copy_file", **{"from": f"{root}/0", "to": f"{root}/copy"}).json()["error_code"] == "unavailable"
        assert server.post("/set_mode", path=f"{root}/0", mode="600").status_code == 503
    wait_until(lambda: find_status(server, "/etc") == 200, "the walk has ended")


def test_searches_of_everything(make_server, workdir):
    """They leave the API responsive, and take little memory."""
    server = make_server({"SANDBOX_MAX_TRANSFERS": "4"})
    with open(f"{workdir}/endless", "wb") as file:
        file.write(b"x\n" * 5000)
        file.truncate(1 << 40)
    subprocess.run(["chmod", "-R", "a+rX", workdir], check=True)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(begin(server, "/search_files", path="/", pattern="no such [t]ext, [0-9]{30}"))
        wait_until(lambda: find_status(server, "/etc") == 503, "all have a place")
        for _ in range(20):
            assert server.shell("echo fine") == "fine\n" and server.get("/health", token=False).json() == {"status": "ok"}
            assert server.post("/stat_file", path="/").json()["entry"]["is_dir"] and server.post("/read_file", path="/etc/passwd").json()["content"]
        peak = int(proc_file(server.daemon("fcgi-app"), "status").split(b"VmHWM:")[1].split()[0])
        assert peak < 64 << 10 or SANITIZED
    wait_until(lambda: find_status(server, "/etc") == 200, "they have ended", 4 * DEADLINE)


def test_many_matches_are_sent_as_they_come(sandbox, tree):
    (tree / "a.c").write_text("needle \x01\"\\\n" * 200_000)
    answer = search(sandbox, tree / "a.c", "needle", limit=200_000)
    assert len(answer["matches"]) == 200_000 and answer["truncated"]
    assert answer["matches"][-1] == {"path": f"{tree}/a.c", "line": 200_000, "column": 1, "text": "needle \x01\"\\"}
    assert search(sandbox, tree / "a.c", "needle", cursor=answer["next_cursor"])["matches"] == []


@pytest.mark.skipif(subprocess.run([sys.executable, "-c", DENY, "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0, reason="a kernel before 6.3")
def test_where_memory_must_not_be_executable(make_server, tree):
    """Patterns are interpreted then: the same lines, the same bound of steps."""
    answers = []
    (tree / "b/d/e/z.c").write_text("x" * 1000 + " y\n")
    for options in ({}, {"prefix": [sys.executable, "-c", DENY]}):
        server = make_server(**options)
        found = [search(server, tree / place, pattern) for place, pattern in (("b-c", r"\bneedle\b"), (".", "[a-z]+e;?$"), (".", r"(?<=needle)\("), ("a.c", "é|int"))]
        assert places(tree, found[0]) == [("b-c", 1, 1)]
        refused = server.post("/search_files", path=str(tree), pattern="(x+x+)+y")
        assert error_of(refused, 400) == "invalid_request"
        answers.append((found, refused.json()))
        assert (b" rwxp " in proc_file(server.daemon("fcgi-app"), "maps")) is not bool(options)  # what it compiled is there
    assert answers[0] == answers[1]
