"""The file endpoints."""

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import threading

import pytest

from sandbox import BIG_TIMEOUT, DEADLINE, SANITIZED, TIMEOUT, Server, descriptors, http_request, in_threads, mounting_is_allowed, proc_file, wait_until, with_a_small_disk

OK = {"success": True}


def write(sandbox, path, content):
    answer = sandbox.post("/write_file", path=path, content=content)
    assert (answer.status_code, answer.json()) == (200, OK)


def read(sandbox, path):
    answer = sandbox.post("/read_file", path=path)
    assert answer.status_code == 200 and list(answer.json()) == ["content"], answer.text[:300]
    return answer.json()["content"]


def names(sandbox, path):
    answer = sandbox.post("/list_dir", path=path)
    assert answer.status_code == 200 and list(answer.json()) == ["entries"], answer.text[:300]
    return answer.json()["entries"]


def refusal(answer, word):
    """The error of what the file system refused: status 200, the words that clients look for."""
    assert answer.status_code == 200, (answer.status_code, answer.text)
    body = answer.json()
    assert word in body["error"].lower(), body
    assert body.get("success", False) is False and "content" not in body and "entries" not in body
    return body


def on_disk(sandbox, path):
    """The bytes of a file by another way than the API's file endpoints."""
    return base64.b64decode(sandbox.shell("base64 <\"$FILE\"", env={"FILE": path}))


def mode(sandbox, path):
    return sandbox.shell("stat -c %a \"$FILE\"", env={"FILE": path}).strip()


# ---- content ----


CONTENTS = {
    "nothing": "",
    "a line": "file contents",
    "line endings": "a\nb\r\nc\r\n\n",
    "NULs": "\0a\0\0b\0",
    "only NULs": "\0" * 100_000,
    "JSON's own characters": '{"a":"\\"\\\\\\n\\u0041\\ud83d"}/\b\f\t\x7f\x1f',
    "every plane": "".join(map(chr, [*range(0, 0xD800, 61), *range(0xE000, 0x110000, 509)])),
    "noncharacters": "\ufffe\uffff\U0010ffff\ufeff\ufffd",
    "shell syntax": "$(rm -rf /) `id` ' \" ; & | > \\",
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
@pytest.mark.parametrize("ascii_only", [True, False], ids=["escaped", "UTF-8"])
def test_round_trip(sandbox, workdir, content, ascii_only):
    path = f"{workdir}/file"
    body = json.dumps({"path": path, "content": content}, ensure_ascii=ascii_only).encode()
    assert sandbox.call("POST", "/write_file", body).json() == OK
    assert on_disk(sandbox, path) == content.encode()
    answer = sandbox.post("/read_file", path=path)
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == {"content": content}


def test_members_in_any_order(sandbox, workdir):
    for body in ({"content": "x" * 100_000, "path": f"{workdir}/a"}, {"path": f"{workdir}/a", "content": "x" * 100_000},
                 {"x": "y" * 100_000, "content": "x" * 100_000, "z": [1], "path": f"{workdir}/a"}):
        assert sandbox.call("POST", "/write_file", body).json() == OK
        assert read(sandbox, f"{workdir}/a") == "x" * 100_000


def test_escapes_at_every_offset_of_a_buffer(sandbox, workdir):
    """Surrogate pairs and escapes across the borders of whatever pieces the body is decoded in."""
    for shift in range(13):
        content = "x" * shift + "😀€\n\0\"" * 8_000
        write(sandbox, f"{workdir}/file", content)
        assert on_disk(sandbox, f"{workdir}/file") == content.encode()
        assert read(sandbox, f"{workdir}/file") == content


def test_10_megabytes_of_escapes(sandbox, workdir):
    content = "\"\\\n\t\0ü😀\x1f/" * 1_000_000
    body = json.dumps({"path": f"{workdir}/file", "content": content}).encode()
    assert sandbox.call("POST", "/write_file", body, timeout=BIG_TIMEOUT).json() == OK
    answer = sandbox.call("POST", "/read_file", {"path": f"{workdir}/file"}, timeout=BIG_TIMEOUT)
    assert answer.json() == {"content": content}


# Bytes, by printf's escapes, and the text that they are.
BYTES = {
    "a\\377b": "a\ufffdb", "\\303": "\ufffd", "\\355\\240\\200": "\ufffd\ufffd\ufffd", "\\300\\200": "\ufffd\ufffd", "x\\342\\202": "x\ufffd\ufffd",
    "\\364\\220\\200\\200": "\ufffd" * 4, "\\342\\202\\254": "€", "\\000": "\0", "\\360\\237\\230\\200x": "😀x", "": "", "\\000\\377": "\0\ufffd", "\\000\\342\\202": "\0\ufffd\ufffd",
}


@pytest.mark.parametrize("octal", BYTES)
def test_reading_bytes(sandbox, workdir, octal):
    """What is no UTF-8 is text with U+FFFD in it, which is said; with a NUL it is bytes, and comes as base64, which is said, too."""
    sandbox.shell(f"printf '{octal}' >{workdir}/file")
    text, data = BYTES[octal], on_disk(sandbox, f"{workdir}/file")
    is_text = {"content": text} if "\ufffd" not in text else {"content": text, "is_utf8": False}
    encoded = {"content": base64.b64encode(data).decode(), "is_base64": True}
    assert sandbox.post("/read_file", path=f"{workdir}/file").json() == (encoded if b"\0" in data and "\ufffd" in text else is_text)
    for fields in ({"encoding": "base64"}, {"is_base64": True}, {"encoding": "BASE64", "is_base64": True}):
        assert sandbox.post("/read_file", path=f"{workdir}/file", **fields).json() == encoded
    for encoding in ("utf-8", "utf8", "UTF-8"):
        answer = sandbox.post("/read_file", path=f"{workdir}/file", encoding=encoding)
        assert json.loads(answer.content.decode("utf-8", "strict")) == is_text, encoding


@pytest.mark.parametrize("head, is_base64", [
    (b"\0" + b"x" * 8190 + b"\xff", True), (b"\0" + b"x" * 8191 + b"\xff", False), (b"x" * 8191 + b"\0\xff", False), (b"\xff" + b"x" * 8190 + b"\0", True),
    (b"\xff" + b"x" * 8191 + b"\0", False), (b"\0" + b"x" * 8189 + "€".encode(), False), (b"\0" + b"x" * 8189 + b"\xe2\x82" + b"x", False),
    (b"\0" + b"x" * 8188 + b"\xe2\x82" + b"x", True),
])
def test_the_beginning_says_whether_it_is_text(sandbox, workdir, head, is_base64):
    """Its first 8 KiB, also of a part that begins further on."""
    sandbox.shell("base64 -d >\"$FILE\"", env={"FILE": f"{workdir}/file"}, stdin=base64.b64encode(head).decode())
    for fields in ({}, {"offset": 5}):
        assert sandbox.post("/read_file", path=f"{workdir}/file", **fields).json().get("is_base64", False) is is_base64


@pytest.mark.parametrize("size", [1, 2, 3, 65534, 65535, 65536, 65537, 131071, 131072, 131073, 300_000])
def test_base64_both_ways(sandbox, workdir, size):
    """Of any length, across the pieces in which files are read and bodies decoded."""
    data = b"\0\xff"[:size] + os.urandom(max(0, size - 2))
    text = base64.b64encode(data).decode()
    for fields in ({"encoding": "base64"}, {"is_base64": True}):
        assert sandbox.post("/write_file", path=f"{workdir}/file", content=text, **fields).json() == OK
        assert on_disk(sandbox, f"{workdir}/file") == data
        assert sandbox.post("/read_file", path=f"{workdir}/file", **(fields if size == 1 else {})).json() == {"content": text, "is_base64": True}


@pytest.mark.parametrize("size", [65534, 65535, 65536, 65537, 131072, 200_000])
@pytest.mark.parametrize("character", ["a", "ü", "€", "😀"])
def test_large_text_is_text(sandbox, workdir, size, character):
    """Also where a piece ends within a character. A byte that is none is told of at the end."""
    text = "x" * (size % 7) + character * (size // len(character.encode()))
    write(sandbox, f"{workdir}/file", text)
    assert read(sandbox, f"{workdir}/file") == text
    sandbox.shell(f"printf '\\342\\202' >>{workdir}/file")
    assert sandbox.post("/read_file", path=f"{workdir}/file").json() == {"content": text + "\ufffd" * 2, "is_utf8": False}


@pytest.mark.parametrize("content, where", [
    ("Zg", "ends within"), ("Zg=", "ends within"), ("Zg==Zg==", "character 5"), ("Zh==", "character 3"), ("Zm9v\n", "character 5"), ("Zm-_", "character 3"),
    ("ü", "character 1"), ("Zm9v" * 20_000 + "!", "character 80001"), ("\0", "character 1"), ("\ud800", "character 1"),
])
def test_content_that_is_no_base64(sandbox, workdir, content, where):
    """It is a 400, and nothing is written, not even where a file is written in place."""
    write(sandbox, f"{workdir}/file", "old")
    answer = sandbox.post("/write_file", path=f"{workdir}/file", content=content, encoding="base64")
    assert answer.status_code == 400 and answer.json()["success"] is False
    assert answer.json()["error"].startswith("content is not base64: ") and where in answer.json()["error"]
    assert names(sandbox, workdir) == ["file"] and read(sandbox, f"{workdir}/file") == "old"


def test_encodings_that_are_none(sandbox, workdir):
    for path, fields in (("/read_file", {}), ("/write_file", {"content": "Zm9v"})):
        for wrong in ({"encoding": "latin-1"}, {"encoding": "base64url"}, {"encoding": "utf-8", "is_base64": True}, {"encoding": "base64", "is_base64": False},
                      {"encoding": 1}, {"is_base64": "true"}, {"is_base64": 1}):
            answer = sandbox.post(path, path=f"{workdir}/file", **fields, **wrong)
            assert answer.status_code == 400 and re.search("encoding|is_base64", answer.json()["error"]), wrong
    assert names(sandbox, workdir) == []
    for absent in ({"encoding": None}, {"encoding": ""}, {"is_base64": None}, {"is_base64": False}):
        assert sandbox.post("/write_file", path=f"{workdir}/file", content="Zm9v", **absent).json() == OK
        assert read(sandbox, f"{workdir}/file") == "Zm9v"
    assert sandbox.post("/write_file", path=f"{workdir}/file", encoding="base64").json() == OK
    assert sandbox.post("/read_file", path=f"{workdir}/file", encoding="base64").json() == {"content": "", "is_base64": True}


@pytest.mark.slow
def test_a_large_file_in_base64(sandbox, workdir):
    """It passes through in pieces, both ways."""
    data = os.urandom(1 << 20) * 40
    body = json.dumps({"path": f"{workdir}/file", "content": base64.b64encode(data).decode(), "encoding": "base64"}).encode()
    assert sandbox.call("POST", "/write_file", body, timeout=BIG_TIMEOUT).json() == OK
    assert sandbox.shell(f"sha256sum <{workdir}/file").split()[0] == hashlib.sha256(data).hexdigest()
    answer = sandbox.call("POST", "/read_file", {"path": f"{workdir}/file"}, timeout=BIG_TIMEOUT).json()
    assert answer["is_base64"] and base64.b64decode(answer["content"]) == data


# ---- what is known of a file ----


def stat_of(sandbox, path):
    answer = sandbox.post("/stat_file", path=path)
    assert answer.status_code == 200 and list(answer.json()) == ["entry"], answer.text
    entry = answer.json()["entry"]
    assert list(entry)[:5] == ["name", "is_dir", "size", "mod_time", "mode"] or "name_escaped" in entry
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", entry["mod_time"])
    return entry


def test_stat(sandbox, workdir):
    """The shape that a published client decodes: time and mode are strings, and what is not there is an error."""
    write(sandbox, f"{workdir}/file", "ü")
    sandbox.shell(f"cd {workdir} && touch -d '2025-11-04 12:34:56.000000789 UTC' file && mkdir d && chmod 2750 d && ln -s file link && ln -s none dangling && ln -s d to-d")
    expected = {"name": "file", "is_dir": False, "size": 2, "mod_time": "2025-11-04T12:34:56.000000789Z", "mode": "0644"}
    assert stat_of(sandbox, f"{workdir}/file").items() >= expected.items()
    assert stat_of(sandbox, f"{workdir}/link").items() >= {**expected, "name": "link"}.items()
    for path, name in (("d", "d"), ("d/", "d"), ("d///", "d"), ("d/.", "."), ("to-d", "to-d"), ("", os.path.basename(workdir))):
        entry = stat_of(sandbox, f"{workdir}/{path}")
        assert entry["name"] == name and entry["is_dir"] is True, path
    assert stat_of(sandbox, f"{workdir}/d")["mode"] == "2750"
    assert stat_of(sandbox, "/")["name"] == "/" and stat_of(sandbox, "//")["is_dir"] is True
    assert stat_of(sandbox, "/dev/null")["is_dir"] is False
    for path, word in (("none", "no such file"), ("dangling", "no such file"), ("file/x", "not a directory"), ("file/", "not a directory")):
        body = refusal(sandbox.post("/stat_file", path=f"{workdir}/{path}"), word)
        assert list(body) == ["error", "error_code"]
    refusal(sandbox.post("/stat_file", path=f"{workdir}/{'n' * 256}"), "name too long")


def test_stat_of_any_name_and_size(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && truncate -s 5000000000 large && : >\"$(printf 'a\\377\\n\"ü')\" && : >{'n' * 255}")
    assert stat_of(sandbox, f"{workdir}/large")["size"] == 5_000_000_000
    assert stat_of(sandbox, f"{workdir}/{'n' * 255}")["name"] == "n" * 255


def test_overwriting_shorter_and_longer(sandbox, workdir):
    for content in ("long " * 1000, "short", "", "long again " * 1000):
        write(sandbox, f"{workdir}/file", content)
        assert read(sandbox, f"{workdir}/file") == content
    assert names(sandbox, workdir) == ["file"]


# ---- names ----


NAMES = ["with space", "quote\"s'", "new\nline", "tab\t", "ünïcödé", "日本", "😀", "-dash", "--", "$HOME", "`id`", "back\\slash", "*", "a" * 255,
         "...", ".hidden", "%41", "percent%00", "#", "?", "semi;colon", "\x01control", "\x7f", "é", "e\u0301"]


def test_names_of_every_kind(sandbox, workdir):
    for name in NAMES:
        write(sandbox, f"{workdir}/{name}", name)
    assert names(sandbox, workdir) == sorted(NAMES, key=str.encode)
    for name in NAMES:
        assert read(sandbox, f"{workdir}/{name}") == name
        assert sandbox.post("/delete_file", path=f"{workdir}/{name}").json() == OK
        assert sandbox.post("/make_dir", path=f"{workdir}/{name}/{name}").json() == OK
    assert names(sandbox, workdir) == sorted(NAMES, key=str.encode)
    for name in NAMES:
        assert names(sandbox, f"{workdir}/{name}") == [name]
        assert sandbox.post("/delete_dir", path=f"{workdir}/{name}").json() == OK
    assert names(sandbox, workdir) == []


def test_a_name_that_is_no_utf8(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && touch \"$(printf 'a\\377b')\"")
    assert names(sandbox, workdir) == ["a\ufffdb"]


def test_long_paths(sandbox, workdir):
    for path in (f"{workdir}/" + "n" * 256, f"{workdir}/" + "d/" * 5000 + "x"):
        for endpoint in ("/write_file", "/read_file", "/list_dir"):
            refusal(sandbox.post(endpoint, path=path, content="x"), "name too long")


# ---- write ----


def test_modes(sandbox, workdir):
    write(sandbox, f"{workdir}/new", "x")
    assert mode(sandbox, f"{workdir}/new") == "644"
    for kept in ("600", "755", "640", "400"):
        sandbox.shell(f"echo old >{workdir}/{kept}; chmod {kept} {workdir}/{kept}")
        if kept != "400" or sandbox.shell("id -u").strip() == "0":
            write(sandbox, f"{workdir}/{kept}", "new")
            assert read(sandbox, f"{workdir}/{kept}") == "new"
        assert mode(sandbox, f"{workdir}/{kept}") == kept


def test_a_directory_that_is_missing_is_not_made(sandbox, workdir):
    refusal(sandbox.post("/write_file", path=f"{workdir}/no/file", content="x"), "no such file")
    assert names(sandbox, workdir) == []


def test_write_refused(sandbox, workdir):
    write(sandbox, f"{workdir}/file", "old")
    refusal(sandbox.post("/write_file", path=workdir, content="x"), "is a directory")
    refusal(sandbox.post("/write_file", path=f"{workdir}/file/x", content="x"), "not a directory")
    assert names(sandbox, workdir) == ["file"] and read(sandbox, f"{workdir}/file") == "old"


def test_write_through_symbolic_links(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && mkdir real && echo old >real/target && chmod 600 real/target && ln -s real/target relative && "
                  f"ln -s {workdir}/real/target absolute && ln -s relative chain && ln -s real/new dangling && ln -s real directory && "
                  "ln -s loop loop")
    for link in ("relative", "absolute", "chain", "directory/target"):
        write(sandbox, f"{workdir}/{link}", link)
        assert read(sandbox, f"{workdir}/real/target") == link
    assert mode(sandbox, f"{workdir}/real/target") == "600"
    write(sandbox, f"{workdir}/dangling", "made")
    assert read(sandbox, f"{workdir}/real/new") == "made"
    links = sandbox.shell(f"cd {workdir} && find . -type l | sort").split()
    assert links == ["./absolute", "./chain", "./dangling", "./directory", "./loop", "./relative"]
    refusal(sandbox.post("/write_file", path=f"{workdir}/loop", content="x"), "symbolic links")
    assert names(sandbox, f"{workdir}/real") == ["new", "target"]


def python(sandbox, workdir, script):
    """What a Python script prints that runs in `workdir`, where the server is."""
    result = sandbox.run('/usr/bin/python3 -c "$SCRIPT"', cwd=workdir, env={"SCRIPT": script})
    assert result["code"] == 0, result["stderr"]
    return result["stdout"].splitlines()


ACCESS_LIST = """
import os, struct
# user::rw- user:12345:rw- group::--- mask::rw- other::---
LIST = struct.pack("<I" + "HHI" * 5, 2, 1, 6, 0xffffffff, 2, 6, 12345, 4, 0, 0xffffffff, 16, 6, 0xffffffff, 32, 0, 0xffffffff)
"""


def test_write_keeps_lists_and_attributes(sandbox, workdir):
    """A POSIX ACL, without which its mask would become the group's rights, and extended attributes."""
    python(sandbox, workdir, ACCESS_LIST + """
open("file", "w").write("old"); os.chmod("file", 0o600)
open("kept", "w")
for name, value in (("system.posix_acl_access", LIST), ("user.note", b"kept")):
    try: os.setxattr("file", name, value); open("kept", "a").write(name + "\\n")
    except OSError: pass
""")
    before = mode(sandbox, f"{workdir}/file")
    write(sandbox, f"{workdir}/file", "new")
    python(sandbox, workdir, ACCESS_LIST + """
for name in open("kept").read().split():
    assert os.getxattr("file", name) == {"system.posix_acl_access": LIST, "user.note": b"kept"}[name], name
""")
    assert mode(sandbox, f"{workdir}/file") == before and read(sandbox, f"{workdir}/file") == "new"


def test_write_to_a_file_of_several_names(sandbox, workdir):
    """All of them have the new content, as after a shell's redirection."""
    sandbox.shell(f"cd {workdir} && echo old >one && ln one two")
    for path, content in (("one", "longer " * 50_000), ("two", "short"), ("one", "")):
        write(sandbox, f"{workdir}/{path}", content)
        assert read(sandbox, f"{workdir}/one") == read(sandbox, f"{workdir}/two") == content
    assert sandbox.shell(f"stat -c %h {workdir}/one") == "2\n" and names(sandbox, workdir) == ["one", "two"]


@pytest.mark.host
@pytest.mark.skipif(not mounting_is_allowed(), reason="no mount is allowed here")
def test_write_to_a_mounted_file(tmp_path):
    """As /etc/hosts of a container is: it cannot be replaced."""
    for name in ("mounted", "source"):
        (tmp_path / name).write_text("old " * 1000)
        (tmp_path / name).chmod(0o666)
    tmp_path.chmod(0o777)
    mount = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "sh", "-c",
             'mount --bind "$1/source" "$1/mounted"; shift; exec "$@"', "sh", str(tmp_path)]
    with Server(prefix=mount) as server:
        for content in ("new", "longer " * 20_000, ""):
            write(server, f"{tmp_path}/mounted", content)
            assert (tmp_path / "source").read_text() == content and read(server, f"{tmp_path}/mounted") == content
        assert (tmp_path / "mounted").read_text() == "old " * 1000 and names(server, str(tmp_path)) == ["mounted", "source"]


@pytest.mark.host
@pytest.mark.skipif(not mounting_is_allowed(), reason="no mount is allowed here")
def test_a_disk_without_room_for_a_copy_leaves_the_old(tmp_path):
    """What is written over the old content is written when the disk has room for all of it."""
    with Server(prefix=with_a_small_disk(str(tmp_path))) as server:
        write(server, f"{tmp_path}/one", "old" * 100_000)
        server.shell(f"ln {tmp_path}/one {tmp_path}/two")
        refusal(server.post("/write_file", path=f"{tmp_path}/one", content="new!" * 150_000), "no space left")
        assert read(server, f"{tmp_path}/two") == "old" * 100_000
        write(server, f"{tmp_path}/one", "new!" * 100_000)
        assert read(server, f"{tmp_path}/two") == "new!" * 100_000 and names(server, str(tmp_path)) == ["one", "two"]


def test_readers_see_the_old_or_the_new_never_half(sandbox, workdir):
    path = f"{workdir}/file"
    write(sandbox, path, "a" * 2_000_000)
    done = threading.Event()
    seen = []

    def look():
        while not done.is_set():
            content = read(sandbox, path)
            seen.append((len(content), set(content)))

    reader = threading.Thread(target=look)
    reader.start()
    for number in range(20):
        write(sandbox, path, "ab"[number % 2] * 2_000_000)
    done.set()
    reader.join()
    assert seen and all(size == 2_000_000 and len(letters) == 1 for size, letters in seen)


def test_an_upload_that_its_client_cuts_leaves_the_old(sandbox, workdir):
    write(sandbox, f"{workdir}/file", "old")
    body = json.dumps({"path": f"{workdir}/file", "content": "x" * 3_000_000}).encode()
    with sandbox.raw() as raw:
        raw.send(http_request("POST", "/write_file", [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))], body[:2_000_000]))
        sandbox.shell("true")
    for _ in range(20):
        sandbox.shell("true")
    assert read(sandbox, f"{workdir}/file") == "old" and names(sandbox, workdir) == ["file"]


def test_malformed_content_leaves_the_old(sandbox, workdir):
    """The fault comes last, after megabytes that were good."""
    write(sandbox, f"{workdir}/file", "old")
    for end in (b'\\ud8"}', b'\xff"}', b'"', b'"} x', b'\\x"}', b'","path":"/x"}'):
        body = json.dumps({"path": f"{workdir}/file", "content": "x" * 1_000_000}).encode()[:-2] + end
        assert sandbox.call("POST", "/write_file", body).status_code == 400
        assert read(sandbox, f"{workdir}/file") == "old" and names(sandbox, workdir) == ["file"]


def test_many_writers_of_one_file(sandbox, workdir):
    in_threads(20, lambda number: write(sandbox, f"{workdir}/file", chr(97 + number) * 500_000))
    content = read(sandbox, f"{workdir}/file")
    assert len(content) == 500_000 and len(set(content)) == 1 and names(sandbox, workdir) == ["file"]


def test_many_writers_of_one_file_with_two_names(sandbox, workdir):
    """It is written in place; what is there at the end is of one writer."""
    sandbox.shell(f"cd {workdir} && touch one && ln one two")
    for _ in range(3):
        in_threads(20, lambda number: write(sandbox, f"{workdir}/{('one', 'two')[number % 2]}", chr(97 + number) * (300_000 + number % 3)))
        content = read(sandbox, f"{workdir}/one")
        assert len(set(content)) == 1 and len(content) == 300_000 + (ord(content[0]) - 97) % 3


@pytest.mark.host
@pytest.mark.skipif(not mounting_is_allowed(), reason="no mount is allowed here")
def test_a_full_disk_leaves_the_old(tmp_path):
    with Server(prefix=with_a_small_disk(str(tmp_path))) as server:
        write(server, f"{tmp_path}/file", "old " * 1000)
        refusal(server.post("/write_file", path=f"{tmp_path}/file", content="new" * 1_000_000), "no space left")
        assert read(server, f"{tmp_path}/file") == "old " * 1000 and names(server, tmp_path.as_posix()) == ["file"]
        refusal(server.post("/write_file", path=f"{tmp_path}/other", content="new" * 1_000_000), "no space left")
        assert names(server, tmp_path.as_posix()) == ["file"]
        write(server, f"{tmp_path}/other", "fits")


# ---- delete, make, list ----


def test_delete_file(sandbox, workdir):
    write(sandbox, f"{workdir}/file", "x")
    sandbox.shell(f"mkdir {workdir}/dir && ln -s ../nowhere {workdir}/dangling && ln -s dir {workdir}/link")
    for name in ("file", "dangling", "link"):
        assert sandbox.post("/delete_file", path=f"{workdir}/{name}").json() == OK
    refusal(sandbox.post("/delete_file", path=f"{workdir}/file"), "no such file")
    refusal(sandbox.post("/delete_file", path=f"{workdir}/dir"), "is a directory")
    assert names(sandbox, workdir) == ["dir"]


def test_make_dir(sandbox, workdir):
    for _ in range(2):
        assert sandbox.post("/make_dir", path=f"{workdir}/a/b/c").json() == OK
    assert [mode(sandbox, f"{workdir}/{path}") for path in ("a", "a/b", "a/b/c")] == ["755"] * 3
    assert sandbox.post("/make_dir", path=f"{workdir}/a//d/./e/").json() == OK
    assert names(sandbox, f"{workdir}/a") == ["b", "d"]
    assert sandbox.post("/make_dir", path="/").json() == OK
    write(sandbox, f"{workdir}/file", "x")
    refusal(sandbox.post("/make_dir", path=f"{workdir}/file"), "exists")
    refusal(sandbox.post("/make_dir", path=f"{workdir}/file/x"), "not a directory")
    sandbox.shell(f"ln -s a {workdir}/link")
    assert sandbox.post("/make_dir", path=f"{workdir}/link").json() == OK
    assert sandbox.post("/make_dir", path=f"{workdir}/link/f").json() == OK
    assert names(sandbox, f"{workdir}/a") == ["b", "d", "f"]


def test_make_dir_at_once(sandbox, workdir):
    answers = in_threads(20, lambda _: sandbox.post("/make_dir", path=f"{workdir}/a/b/c/d/e").json())
    assert answers == [OK] * 20


def test_list_dir(sandbox, workdir):
    assert names(sandbox, workdir) == []
    sandbox.shell(f"cd {workdir} && touch b a B .c 10 9 && mkdir d && ln -s nowhere e && mkfifo f")
    assert names(sandbox, workdir) == [".c", "10", "9", "B", "a", "b", "d", "e", "f"]
    assert "bin" in names(sandbox, "/")
    refusal(sandbox.post("/list_dir", path=f"{workdir}/none"), "no such file")
    refusal(sandbox.post("/list_dir", path=f"{workdir}/a"), "not a directory")


def test_delete_dir(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && mkdir -p a/b/c a/.d && touch a/x a/b/.y a/b/c/z && chmod 555 a/.d && mkfifo a/fifo")
    assert sandbox.post("/delete_dir", path=f"{workdir}/a").json() == OK
    assert names(sandbox, workdir) == []
    assert sandbox.post("/delete_dir", path=f"{workdir}/a").json() == OK
    assert sandbox.post("/delete_dir", path=f"{workdir}/no/such").json() == OK
    assert sandbox.post("/make_dir", path=f"{workdir}/slash").json() == OK
    assert sandbox.post("/delete_dir", path=f"{workdir}/slash/").json() == OK
    assert names(sandbox, workdir) == []


def test_delete_dir_never_follows_links(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && mkdir -p outside/sub a/b && touch outside/file outside/sub/file && "
                  "ln -s ../outside a/link && ln -s ../../outside/file a/b/file && ln -s .. a/b/up && ln -s / a/root && ln -s outside toplink")
    assert sandbox.post("/delete_dir", path=f"{workdir}/a").json() == OK
    kept = sandbox.shell(f"cd {workdir} && find outside | sort").split()
    assert kept == ["outside", "outside/file", "outside/sub", "outside/sub/file"]
    sandbox.post("/delete_dir", path=f"{workdir}/toplink")
    assert sandbox.shell(f"cd {workdir} && find outside | sort").split() == kept


def test_delete_dir_against_a_mover(sandbox, workdir):
    """While the tree is deleted someone swaps a directory in it for a link to outside."""
    sandbox.shell(f"mkdir -p {workdir}/outside && touch {workdir}/outside/file")
    for _ in range(5):
        sandbox.shell(f"cd {workdir} && mkdir -p a/x && seq -f a/x/%g 2000 | xargs touch && mkdir -p b && ln -sfn ../outside b/x")
        swapper = sandbox.start(f"cd {workdir} && mv a/x a/y && mv b/x a/x")
        sandbox.post("/delete_dir", path=f"{workdir}/a")
        sandbox.ended(swapper["id"])
        sandbox.shell(f"rm -rf {workdir}/a {workdir}/b")
        assert names(sandbox, f"{workdir}/outside") == ["file"]


def test_delete_dir_of_a_file(sandbox, workdir):
    write(sandbox, f"{workdir}/file", "x")
    answer = sandbox.post("/delete_dir", path=f"{workdir}/file")
    assert answer.status_code == 200
    assert answer.json() == OK or "not a directory" in answer.json()["error"].lower()


def test_a_tree_1500_deep(sandbox, workdir):
    sandbox.run("/usr/bin/python3 -c \"$SCRIPT\"", cwd=workdir, timeout=BIG_TIMEOUT, env={"SCRIPT":
                  "import os\nfor _ in range(1500):\n    os.mkdir('directory'); os.chdir('directory')\n    open('file', 'w').close()"})
    assert sandbox.call("POST", "/delete_dir", {"path": f"{workdir}/directory"}, timeout=BIG_TIMEOUT).json() == OK
    assert names(sandbox, workdir) == []


@pytest.mark.slow
def test_100_000_entries(sandbox, workdir):
    sandbox.run("seq -f %06g 100000 | shuf | xargs touch", cwd=workdir, timeout=BIG_TIMEOUT)
    answer = sandbox.call("POST", "/list_dir", {"path": workdir}, timeout=BIG_TIMEOUT)
    assert answer.json() == {"entries": [f"{number:06}" for number in range(1, 100_001)]}
    assert sandbox.call("POST", "/delete_dir", {"path": workdir}, timeout=BIG_TIMEOUT).json() == OK
    assert sandbox.run(f"test -e {workdir}")["code"] == 1


# ---- what is no plain file ----


def test_read_refused(sandbox, workdir):
    refusal(sandbox.post("/read_file", path=f"{workdir}/none"), "no such file")
    refusal(sandbox.post("/read_file", path=workdir), "is a directory")
    refusal(sandbox.post("/read_file", path=f"{workdir}/none/x"), "no such file")
    write(sandbox, f"{workdir}/file", "x")
    refusal(sandbox.post("/read_file", path=f"{workdir}/file/x"), "not a directory")
    sandbox.shell(f"ln -s loop {workdir}/loop")
    refusal(sandbox.post("/read_file", path=f"{workdir}/loop"), "symbolic links")


def test_fifos_do_not_hang_the_server(sandbox, workdir):
    sandbox.shell(f"mkfifo {workdir}/fifo")
    refusal(sandbox.post("/read_file", path=f"{workdir}/fifo"), "")
    refusal(sandbox.post("/write_file", path=f"{workdir}/fifo", content="x"), "")
    assert sandbox.shell(f"stat -c %F {workdir}/fifo") == "fifo\n"
    assert sandbox.post("/delete_file", path=f"{workdir}/fifo").json() == OK


def test_a_fifo_with_a_reader_is_written(sandbox, workdir):
    sandbox.shell(f"mkfifo {workdir}/fifo")
    reader = sandbox.start(f"cat {workdir}/fifo")
    answer = wait_until(lambda: (answer := sandbox.post("/write_file", path=f"{workdir}/fifo", content="through\n")).json() == OK and answer,
                        "a reader")
    assert answer.status_code == 200
    assert sandbox.lines(reader["id"]) == ["through"]


def test_devices(sandbox):
    for path in ("/dev/zero", "/dev/urandom", "/dev/full", "/dev/tty", "/dev/null", "/dev/stdin"):
        answer = sandbox.post("/read_file", path=path)
        assert answer.status_code == 200 and "error" in answer.json() and "content" not in answer.json(), path
    assert sandbox.post("/write_file", path="/dev/null", content="x" * 100_000).json() == OK
    refusal(sandbox.post("/write_file", path="/dev/full", content="x"), "no space left")
    assert sandbox.shell("stat -c %F /dev/null /dev/full") == "character special file\n" * 2


def test_sockets(sandbox, workdir):
    sandbox.shell(f"/usr/bin/python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('{workdir}/socket')\"")
    refusal(sandbox.post("/read_file", path=f"{workdir}/socket"), "")
    refusal(sandbox.post("/write_file", path=f"{workdir}/socket", content="x"), "")


def test_proc(sandbox):
    assert read(sandbox, "/proc/version").startswith("Linux")
    assert "Name:" in read(sandbox, "/proc/self/status")
    assert "self" in names(sandbox, "/proc")
    for path in ("/proc/kmsg", "/proc/self/mem", "/proc/sysrq-trigger", "/proc/self/environ", "/proc/kcore/x"):
        answer = sandbox.post("/read_file", path=path)  # whatever it says, it says it
        assert answer.status_code == 200
    refusal(sandbox.post("/write_file", path="/proc/version", content="x"), "")
    refusal(sandbox.post("/delete_file", path="/proc/version"), "")
    assert sandbox.shell("echo fine") == "fine\n"


def test_a_file_that_grows_while_it_is_read(sandbox, workdir):
    sandbox.shell(f"touch {workdir}/file")
    writer = sandbox.start(f"while :; do echo 0123456789 >>{workdir}/file; done")
    for _ in range(20):
        content = read(sandbox, f"{workdir}/file")
        assert set(content) <= set("0123456789\n")
    sandbox.kill(writer["id"])


def test_a_file_that_shrinks_while_it_is_read(sandbox, workdir):
    writer = sandbox.start(f"while :; do head -c 3000000 /dev/zero | tr '\\0' x >{workdir}/file; : >{workdir}/file; done")
    wait_until(lambda: "content" in sandbox.post("/read_file", path=f"{workdir}/file").json(), "the file")
    for _ in range(20):
        assert set(read(sandbox, f"{workdir}/file")) <= {"x"}
    sandbox.kill(writer["id"])


@pytest.mark.host
@pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")
def test_permissions(sandbox, workdir):
    write(sandbox, f"{workdir}/file", "x")
    os.chmod(f"{workdir}/file", 0)
    refusal(sandbox.post("/read_file", path=f"{workdir}/file"), "permission denied")
    os.mkdir(f"{workdir}/closed", 0o500)
    refusal(sandbox.post("/write_file", path=f"{workdir}/closed/x", content="x"), "permission denied")
    refusal(sandbox.post("/make_dir", path=f"{workdir}/closed/x"), "permission denied")


# ---- large, in bounded memory ----


class MemoryWatch(threading.Thread):
    """Samples the anonymous memory of all processes of a server while a block runs."""

    def __init__(self, server):
        super().__init__()
        self.server, self.done, self.highest = server, threading.Event(), 0

    def __enter__(self):
        self.pids = [pid for pid in self.server.launch.tree() if not proc_file(pid, "cmdline").startswith(b"sh\0")]
        self.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.join()

    def anonymous(self, pid):
        for line in proc_file(pid, "status").splitlines():
            if line.startswith(b"RssAnon:"):
                return int(line.split()[1])
        return 0

    def run(self):
        while not self.done.wait(0.005):
            self.highest = max(self.highest, sum(map(self.anonymous, self.pids)))


def letters(count, hasher):
    """Pseudo-random letters in pieces of 1 MiB, told to `hasher`."""
    for number in range(count >> 20):
        piece = hashlib.sha256(str(number).encode()).hexdigest().encode() * (1 << 14)
        hasher.update(piece)
        yield piece


@pytest.mark.host
@pytest.mark.slow
def test_writing_200_megabytes_in_bounded_memory(server, tmp_path):
    written = hashlib.sha256()

    def body():
        yield json.dumps({"path": f"{tmp_path}/file"}).encode()[:-1] + b',"content":"'
        yield from letters(200 << 20, written)
        yield b'"}'

    with MemoryWatch(server) as watch:
        answer = server.call("POST", "/write_file", body(), timeout=BIG_TIMEOUT)
    assert answer.json() == OK
    assert SANITIZED or 0 < watch.highest <= 64 << 10, "KiB"
    with open(tmp_path / "file", "rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == written.digest()
    shutil.rmtree(tmp_path)


@pytest.mark.host
@pytest.mark.slow
def test_reading_300_megabytes_in_bounded_memory(server, tmp_path):
    written, got = hashlib.sha256(), hashlib.sha256()
    with open(tmp_path / "file", "wb") as file:
        file.writelines(letters(300 << 20, written))
    with MemoryWatch(server) as watch:
        answer = server.call("POST", "/read_file", {"path": f"{tmp_path}/file"}, stream=True, timeout=BIG_TIMEOUT)
        pieces = answer.iter_content(1 << 20)
        first = next(pieces)
        head = b'{"content":"' if first.startswith(b'{"content":"') else b'{"content": "'
        rest, end = first[len(head):], b""
        for piece in pieces:
            got.update(rest)
            rest, end = end + piece, b""
            rest, end = rest[:-2], rest[-2:]
        got.update(rest)
    assert end == b'"}' and got.digest() == written.digest()
    assert SANITIZED or 0 < watch.highest <= 64 << 10, "KiB"
    shutil.rmtree(tmp_path)


@pytest.mark.host
def test_new_modes_do_not_depend_on_the_umask(make_server, tmp_path):
    server = make_server(prefix=["sh", "-c", 'umask 077; exec "$@"', "sh"])
    write(server, f"{tmp_path}/file", "x")
    assert server.post("/make_dir", path=f"{tmp_path}/a/b").json() == OK
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("file", "a", "a/b")] == [0o644, 0o755, 0o755]


def test_the_server_answers_while_a_file_waits(sandbox, workdir):
    """None of what was refused above holds a thread for long."""
    sandbox.shell(f"mkfifo {workdir}/fifo")
    answers = in_threads(20, lambda _: sandbox.post("/read_file", path=f"{workdir}/fifo").status_code)
    assert answers == [200] * 20
    wait_until(lambda: sandbox.shell("echo ok") == "ok\n", "an answer", DEADLINE)


@pytest.mark.parametrize("encoding", ["utf-8", "base64"])
def test_an_answer_without_end_lets_go_of_a_client_that_leaves(server, tmp_path, encoding):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(8 << 40)

    def is_read():
        return str(path) in descriptors(server.daemon("fcgi-app"))

    connection = server.connection(TIMEOUT)
    connection.request("POST", "/read_file", json.dumps({"path": str(path), "encoding": encoding}), {"Authorization": server.authorization})
    assert connection.getresponse().read(100_000)
    wait_until(is_read, "the file to be read")
    connection.close()
    wait_until(lambda: not is_read(), "the reading to end")
