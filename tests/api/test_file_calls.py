"""Calls on files beside reading and writing: details of entries, moves, copies, modes."""

import json
import os
import pathlib
import shutil
import subprocess
import urllib.parse

import pytest

from sandbox import DEADLINE, TIMEOUT, Server, mounting_is_allowed, user_ids, wait_until, with_a_small_disk


def call(sandbox, endpoint, status=200, **body):
    answer = sandbox.post(endpoint, **body)
    assert answer.status_code == status, (answer.status_code, answer.text[:500])
    return answer.json()


def entry_of(sandbox, path, **more):
    return call(sandbox, "/stat_file", path=path, **more)["entry"]


# ---- details ----


def test_what_a_file_is(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && echo hi >file && ln -s file link && mkdir d && mkfifo fifo && ln -s none dangling")
    user, group, uid, gid = sandbox.shell("id -un; id -gn; id -u; id -g").split()
    entry = entry_of(sandbox, f"{workdir}/file")
    assert list(entry) == ["name", "is_dir", "size", "mod_time", "mode", "type", "uid", "gid", "user", "group", "etag"]
    assert (entry["type"], entry["user"], entry["group"], entry["uid"], entry["gid"]) == ("file", user, group, int(uid), int(gid))
    answer = sandbox.call("HEAD", f"/files{workdir}/file")
    assert answer.headers["ETag"] == entry["etag"]
    assert entry_of(sandbox, f"{workdir}/link") == {**entry, "name": "link", "link_target": "file"}
    link = entry_of(sandbox, f"{workdir}/dangling", no_follow=True)
    assert (link["type"], link["is_dir"], link["link_target"], "etag" in link) == ("symlink", False, "none", False)
    assert entry_of(sandbox, f"{workdir}/d")["type"] == "directory" and entry_of(sandbox, f"{workdir}/fifo")["type"] == "fifo"
    assert entry_of(sandbox, "/dev/null")["type"] == "character_device"


def test_details_of_a_directory(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && echo hi >file && ln -s file link && mkdir d")
    entries = call(sandbox, "/list_dir", path=workdir, details=True)["entries"]
    assert [(entry["name"], entry["type"]) for entry in entries] == [("d", "directory"), ("file", "file"), ("link", "symlink")]
    assert entries[:2] == [entry_of(sandbox, f"{workdir}/{name}") for name in ("d", "file")]
    assert entries[2] == entry_of(sandbox, f"{workdir}/link", no_follow=True) and entries[2]["link_target"] == "file"
    answer = call(sandbox, "/list_dir", path=f"{workdir}/none", details=True)
    assert answer["error_code"] == "not_found"


def test_pages_of_a_directory(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && seq 250 | xargs touch && touch \"$(printf '\\377')\" 'a b%' é")
    names = call(sandbox, "/list_dir", path=workdir)["entries"]
    assert len(names) == 253
    for details in (False, True):
        seen, cursor = [], None
        while True:
            page = call(sandbox, "/list_dir", path=workdir, limit=100, cursor=cursor, details=details)
            assert set(page) == {"entries", "truncated", *(["next_cursor"] if page["truncated"] else [])}
            seen += [entry["name"] if details else entry for entry in page["entries"]]
            if not page["truncated"]:
                break
            assert len(page["entries"]) == 100
            cursor = page["next_cursor"]
        assert seen == names
    assert call(sandbox, "/list_dir", path=workdir, limit=253)["truncated"] is False
    # one at a time: each cursor holds its name, whatever that is
    assert call(sandbox, "/list_dir", path=workdir, limit=1, cursor="a%20b%25") == {"entries": ["é"], "truncated": True, "next_cursor": "%C3%A9"}
    assert call(sandbox, "/list_dir", path=workdir, limit=1, cursor="%C3%A9") == {"entries": ["\ufffd"], "truncated": False}
    for wrong in ({"limit": 0}, {"cursor": "a/b"}, {"cursor": "%00"}, {"cursor": "x" * 256}):
        assert call(sandbox, "/list_dir", 400, path=workdir, **wrong)["error_code"] == "invalid_request"


def test_names_that_are_no_utf8(sandbox, workdir):
    """Such a name comes with its exact form, which is a path below /files."""
    sandbox.shell(f"cd {workdir} && echo content >\"$(printf 'caf\\351 %%')\" && ln -s \"$(printf 'caf\\351 %%')\" link")
    first, link = call(sandbox, "/list_dir", path=workdir, details=True)["entries"]
    assert (first["name"], first["name_escaped"]) == ("caf\ufffd %", "caf%E9%20%25")
    assert (link["link_target"], link["link_target_escaped"]) == (first["name"], first["name_escaped"]) and "name_escaped" not in link
    answer = sandbox.call("GET", f"/files{workdir}/{first['name_escaped']}")
    assert (answer.status_code, answer.text) == (200, "content\n")
    assert urllib.parse.unquote_to_bytes(first["name_escaped"]) == b"caf\xe9 %"


# ---- moves and copies ----

OK = {"success": True}
TREE = "mkdir -p tree/a/empty tree/b && seq 1000 >tree/a/file && chmod 640 tree/a/file && printf x >\"tree/b/$(printf '\\377 é')\" && ln -s ../a/file tree/b/link \
    && ln -s /nowhere tree/dangling && mkfifo tree/fifo && truncate -s 50M tree/sparse && echo end >>tree/sparse && chmod 2750 tree/a && chmod 500 tree/b \
    && touch -d '2020-02-02 02:02:02.123456789' tree/a/file tree/a tree/b tree && touch -h -d '2020-02-02 02:02:03' tree/dangling"
# All that a copy keeps: names, types, modes, times, links, content, and that holes stay holes.
PICTURE = "find . -type d -printf '%P %y %m %T@\\n' -o -printf '%P %y %m %T@ %l %s\\n' | sort && find . -type f ! -name sparse -exec sha256sum {} + | sort && cmp sparse $OTHER/sparse && test $(du -k sparse | cut -f1) -lt 1000"


@pytest.fixture
def tree(sandbox, workdir):
    """A tree with everything in it, and what it looks like."""
    sandbox.shell(f"cd {workdir} && {TREE}")
    yield f"{workdir}/tree"
    sandbox.shell(f"chmod -R u+rwx {workdir}")


def picture(sandbox, path, other=None):
    """The directory itself has an empty name in it."""
    return sandbox.shell(f"cd {path} && {PICTURE}", env={"OTHER": other or path})


def leftovers(sandbox, path):
    return sandbox.shell(f"find {path} -name '.sandbox-*'")


def test_copy_of_a_tree(sandbox, workdir, tree):
    seen = picture(sandbox, tree)
    assert call(sandbox, "/copy_file", **{"from": tree, "to": f"{workdir}/copy"}) == OK
    assert picture(sandbox, tree) == seen and picture(sandbox, f"{workdir}/copy", tree) == seen
    assert leftovers(sandbox, workdir) == ""
    for name in ("a/file", "dangling", "sparse", "fifo"):
        assert call(sandbox, "/copy_file", **{"from": f"{tree}/{name}", "to": f"{workdir}/one"}) == OK
        assert sandbox.shell(f"cd {workdir} && stat -c '%f %Y %s' one && readlink one; rm one") == \
            sandbox.shell(f"cd {tree} && stat -c '%f %Y %s' {name} && readlink {name}; true")


def test_move_of_a_tree(sandbox, workdir, tree):
    seen, inode = picture(sandbox, tree), sandbox.shell(f"stat -c %i {tree}")
    assert call(sandbox, "/move_file", **{"from": tree, "to": f"{workdir}/moved/"}) == OK
    assert picture(sandbox, f"{workdir}/moved") == seen and sandbox.shell(f"stat -c %i {workdir}/moved") == inode
    assert sandbox.shell(f"ls {workdir}") == "moved\n"


def test_move_to_another_file_system(sandbox, workdir, tree):
    other = sandbox.shell(f"test $(stat -c %d /dev/shm) != $(stat -c %d {workdir}) && mktemp -d /dev/shm/nxs-XXXXXX || true").strip()
    if not other:
        pytest.skip("/dev/shm is no other file system")
    try:
        seen = picture(sandbox, tree)
        assert call(sandbox, "/move_file", **{"from": tree, "to": f"{other}/moved"}) == OK
        assert sandbox.shell(f"ls -A {workdir}") == "" and leftovers(sandbox, other) == ""
        assert picture(sandbox, f"{other}/moved") == seen
        assert call(sandbox, "/move_file", **{"from": f"{other}/moved", "to": tree}) == OK
        assert picture(sandbox, tree) == seen and sandbox.shell(f"ls -A {other}") == ""
    finally:
        sandbox.shell(f"chmod -R u+rwx {other}; rm -rf {other}")


@pytest.mark.parametrize("endpoint", ["/copy_file", "/move_file"])
def test_what_is_there_is_replaced_only_on_demand(sandbox, workdir, endpoint):
    def give(**body):
        answer = sandbox.post(endpoint, **body)
        return answer.status_code, answer.json().get("error_code")

    sandbox.shell(f"cd {workdir} && mkdir -p new/x old/y && echo new >new/x/f && echo old >old/y/f && echo a >a && echo b >b && ln -s b link && ln a again")
    for source, target in (("a", "b"), ("new", "old"), ("a", "link"), ("a", "a"), ("a", "new"), ("new", "b")):
        assert give(**{"from": f"{workdir}/{source}", "to": f"{workdir}/{target}"}) == (409, "exists")
    assert give(**{"from": f"{workdir}/a", "to": f"{workdir}/new", "overwrite": True}) == (409, "is_a_directory")
    assert give(**{"from": f"{workdir}/new", "to": f"{workdir}/b", "overwrite": True})[1] == "not_a_directory"
    assert give(**{"from": f"{workdir}/a", "to": f"{workdir}/a", "overwrite": True}) == (200, None)
    assert give(**{"from": f"{workdir}/new", "to": f"{workdir}/old", "overwrite": True}) == (200, None)
    assert give(**{"from": f"{workdir}/a", "to": f"{workdir}/link", "overwrite": True}) == (200, None)
    kept = "" if endpoint == "/move_file" else "a\n"
    assert sandbox.shell(f"cd {workdir} && find old -type f && cat old/x/f link b && test ! -L link && cat a 2>/dev/null; true") == f"old/x/f\nnew\na\nb\n{kept}"
    if endpoint == "/move_file":  # two names of one file: one is left
        assert give(**{"from": f"{workdir}/again", "to": f"{workdir}/link", "overwrite": True}) == (200, None)
        assert sandbox.shell(f"cd {workdir} && ls && cat link") == "b\nlink\nold\na\n"
    assert leftovers(sandbox, workdir) == ""


@pytest.mark.parametrize("endpoint", ["/copy_file", "/move_file"])
def test_moves_and_copies_that_are_refused(sandbox, workdir, endpoint):
    sandbox.shell(f"cd {workdir} && mkdir -p d/e/f && ln -s d/e to-e && echo x >file")
    for source, target, code in (("d", "d/e/new", "invalid_request"), ("d", "d/new", "invalid_request"), ("d", "to-e/new", "invalid_request"), ("d/e/f", "d", "exists"),
                                 ("none", "new", "not_found"), ("file", "none/new", "not_found"), ("file", "file/new", "not_a_directory"), ("d/.", "new", "invalid_path"), ("d/..", "new", "invalid_path"), ("file", "d/.", "invalid_path"),
                                 ("file", "n" * 256, "invalid_path")):
        answer = sandbox.post(endpoint, **{"from": f"{workdir}/{source}", "to": f"{workdir}/{target}"})
        assert answer.json()["error_code"] == code and answer.json()["success"] is False and 400 <= answer.status_code < 500, (source, target, answer.text)
    answer = sandbox.post(endpoint, **{"from": f"{workdir}/d/e/f", "to": f"{workdir}/d", "overwrite": True})
    assert (answer.status_code, answer.json()["error_code"]) == (409, "not_empty")
    for body in ({"from": f"{workdir}/file"}, {"to": f"{workdir}/file"}):
        assert sandbox.post(endpoint, **body).status_code == 400
    assert sandbox.post(endpoint, **{"from": "/proc/self/environ", "to": f"{workdir}/new"}).status_code == 403
    assert sandbox.shell(f"cd {workdir} && find . | sort") == ".\n./d\n./d/e\n./d/e/f\n./file\n./to-e\n"


@pytest.mark.host
def test_a_copy_that_fails_leaves_nothing(sandbox, workdir):
    """A device stands for what cannot be copied: here the user may not make one, or no user may copy one."""
    sandbox.shell(f"cd {workdir} && mkdir -p d/a && seq 1000 >d/a/f && echo secret >d/a/z && chmod 0 d/a/z")
    if os.geteuid() == 0 and sandbox.shell("id -u") == "0\n":
        os.mknod(f"{workdir}/d/a/zz", 0o600 | 0o020000, os.makedev(1, 3))
    answer = sandbox.post("/copy_file", **{"from": f"{workdir}/d", "to": f"{workdir}/copy"})
    assert answer.status_code == 403 and answer.json()["error"].startswith(f"copy {workdir}/d/a/z")
    assert sandbox.shell(f"ls -A {workdir}") == "d\n"


@pytest.mark.host
@pytest.mark.skipif(not mounting_is_allowed(), reason="no mount is allowed here")
@pytest.mark.parametrize("least", ["0", "300k"])
def test_a_full_disk(tmp_path, workdir, least):
    """And one that would be: nothing of the copy is left, and all of the original."""
    disk = tmp_path / "disk"
    disk.mkdir()
    os.chmod(tmp_path, 0o755)
    with Server({"SANDBOX_MIN_FREE": least}, prefix=with_a_small_disk(str(disk), "1m")) as server:
        server.shell(f"cd {workdir} && mkdir -p tree/a small && head -c 700k /dev/urandom >tree/a/second && head -c 200k /dev/urandom | tee tree/a/first >small/file && truncate -s 50M small/hole")
        server.shell(f"mkdir {disk}/old && echo old >{disk}/old/file && cp {workdir}/tree/a/second {disk}/second")
        for endpoint, source, target in (("/copy_file", f"{workdir}/tree", "new"), ("/move_file", f"{workdir}/tree", "old"), ("/move_file", f"{workdir}/tree/a/second", "new"), ("/copy_file", f"{disk}/second", "new")):
            answer = call(server, endpoint, 507, **{"from": source, "to": f"{disk}/{target}", "overwrite": True})
            assert answer["error_code"] == "no_space" and ("SANDBOX_MIN_FREE" in answer["error"]) is (least != "0"), answer
        assert server.shell(f"cd {disk} && find . -type f | sort && cat old/file; cd {workdir} && find tree -type f | sort") == "./old/file\n./second\nold\ntree/a/first\ntree/a/second\n"
        server.shell(f"rm {disk}/second")
        assert call(server, "/copy_file", **{"from": f"{workdir}/small", "to": f"{disk}/new"}) == OK
        assert call(server, "/move_file", **{"from": f"{workdir}/small", "to": f"{disk}/old", "overwrite": True}) == OK
        assert server.shell(f"cd {disk} && ls -A . old && stat -c %s old/hole && ls -A {workdir}") == ".:\nnew\nold\n\nold:\nfile\nhole\n52428800\ntree\n"


@pytest.mark.host
@pytest.mark.skipif(not mounting_is_allowed(), reason="no mount is allowed here")
def test_a_directory_of_an_image(tmp_path):
    """On overlayfs a directory of the lower layer cannot be renamed, in place neither."""
    script = 'mount -t tmpfs none "$1" && cd "$1" && mkdir -p lower/dir/sub lower/old/x upper work all && echo deep >lower/dir/sub/file && echo x >lower/old/x/y && touch lower/10 lower/100000 \
        && chmod -R 777 . && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none all && shift && exec "$@"'
    prefix = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "sh", "-c", script, "sh", str(tmp_path)]
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no overlayfs can be mounted here")
    with Server(prefix=prefix) as server:
        place = f"{tmp_path}/all"
        if "EXDEV" not in server.shell(f"cd {place} && /usr/bin/python3 -c 'import os; os.rename(\"dir\", \"new\")' 2>&1 | sed s/.*cross-device.*/EXDEV/; ls"):
            pytest.skip("this overlayfs renames directories of the lower layer")
        found = call(server, "/search_files", path=place, pattern="^de+p$")["matches"]
        assert [match["path"] for match in found] == [f"{place}/dir/sub/file"]
        assert [entry["path"] for entry in call(server, "/find_files", path=place, type="file")["entries"]] == [f"{place}/10", f"{place}/100000", f"{place}/dir/sub/file", f"{place}/old/x/y"]
        assert call(server, "/edit_file", path=f"{place}/old/x/y", edits=[{"old_str": "x", "new_str": "edited"}])["size_bytes"] == 7
        assert call(server, "/set_mode", path=f"{place}/old", mode="0711", recursive=True) == OK
        assert server.shell(f"cd {tmp_path} && cat lower/old/x/y 2>/dev/null; cat {place}/old/x/y; stat -c %a {place}/old/x {place}/old/x/y") == "x\nedited\n711\n711\n"
        for size in (10, 100_000):  # the first write of a file of the image copies it, which changes its ETag
            path = f"{place}/{size}"
            tag = server.call("HEAD", f"/files{path}").headers["ETag"]
            assert server.call("PUT", f"/files{path}", b"n" * size, headers={"If-Match": '"other"'}).status_code == 412
            assert server.call("PUT", f"/files{path}", b"n" * size, headers={"If-Match": tag}).status_code == 204, size
            assert server.call("PUT", f"/files{path}", b"m" * size, headers={"If-Match": tag}).status_code == 412
        server.shell(f"rm {place}/10 {place}/100000")
        assert call(server, "/move_file", **{"from": f"{place}/dir", "to": f"{place}/new"}) == OK
        assert server.shell(f"cd {place} && ls && cat new/sub/file") == "new\nold\ndeep\n"
        assert call(server, "/copy_file", **{"from": f"{place}/new", "to": f"{place}/old", "overwrite": True}) == OK
        assert server.shell(f"cd {place} && find old | sort && ls -A") == "old\nold/sub\nold/sub/file\nnew\nold\n"
        assert call(server, "/move_file", **{"from": f"{place}/old", "to": f"{tmp_path}/out"}) == OK
        assert server.shell(f"cat {tmp_path}/out/sub/file; ls -A {place}") == "deep\nnew\n"


def test_a_tree_that_changes_while_it_is_copied(sandbox, workdir):
    """The copy is whole or missing; no hidden file stays."""
    sandbox.shell(f"cd {workdir} && for i in 0 1 2 3; do mkdir -p d/$i/a d/$i/b/c; done && for i in $(seq 300); do echo $i >d/$((i % 4))/a/$i; done")
    changer = sandbox.start(f"cd {workdir}/d && while :; do mv 1/a 2/moved; mkdir 3/n; touch 3/n/x; mv 2/moved 1/a; rm -r 3/n; rm -f 0/a/4; touch 0/a/4; done")
    for number in range(20):
        answer = sandbox.post("/copy_file", **{"from": f"{workdir}/d", "to": f"{workdir}/copy"})
        assert answer.status_code == 200 or answer.json()["error_code"] in ("io_error", "not_found"), (number, answer.text)
        assert sandbox.shell(f"cd {workdir} && ls -A && rm -rf copy").split() == (["copy", "d"] if answer.status_code == 200 else ["d"])
    sandbox.kill(changer["id"])


def test_a_copy_ends_with_its_client(server, tmp_path):
    with open(tmp_path / "large", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 1 << 20)
        file.truncate(1 << 20)
    (tmp_path / "d").mkdir()
    for number in range(1500):
        shutil.copyfile(tmp_path / "large", tmp_path / "d" / str(number)) if number < 3 else os.link(tmp_path / "large", tmp_path / "d" / str(number))
    tmp_path.chmod(0o777)
    connection = server.connection(TIMEOUT)
    body = json.dumps({"from": f"{tmp_path}/d", "to": f"{tmp_path}/copy"})
    connection.request("POST", "/copy_file", body, {"Authorization": server.authorization})
    wait_until(lambda: any(name.startswith(".sandbox-") for name in os.listdir(tmp_path)), "the copy to begin")
    connection.close()
    wait_until(lambda: sorted(os.listdir(tmp_path)) == ["d", "large"], "the copy to end", DEADLINE)


@pytest.mark.own_user
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_as_the_commands_user(make_server, workdir):
    """What it may not read, write or change is refused; what it makes is its own."""
    server = make_server({"SANDBOX_USER": "nobody"})
    root, uid = pathlib.Path(workdir), user_ids("nobody")[0]
    root.chmod(0o777)
    for name, mode in (("readable", 0o4755), ("secret", 0o600)):
        (root / name).write_text("content")
        (root / name).chmod(mode)
    (root / "closed").mkdir(0o755)
    (root / "closed/file").touch()
    for endpoint, source, target in (("/copy_file", "secret", "new"), ("/copy_file", "readable", "closed/new"), ("/move_file", "closed/file", "new"), ("/move_file", "readable", "closed/new")):
        assert call(server, endpoint, 403, **{"from": f"{root}/{source}", "to": f"{root}/{target}"})["error_code"] == "permission_denied"
    for path in ("readable", "closed"):
        answer = call(server, "/set_mode", 403, path=f"{root}/{path}", mode="0777", recursive=True)
        assert answer["error_code"] == "permission_denied"
    assert [result.get("error_code") for result in call(server, "/read_files", paths=[f"{root}/{name}" for name in ("readable", "secret")])["results"]] == [None, "permission_denied"]
    files = [{"path": f"{root}/{name}", "content": "x"} for name in ("own", "secret", "closed/new")]
    assert [result.get("error_code") for result in call(server, "/write_files", files=files)["results"]] == [None, "permission_denied", "permission_denied"]
    assert call(server, "/copy_file", **{"from": f"{root}/readable", "to": f"{root}/copy"}) == OK
    status = (root / "copy").stat()
    assert (status.st_uid, status.st_mode & 0o7777) == (uid, 0o755) and (root / "own").stat().st_uid == uid  # not set-user-ID for another
    assert call(server, "/set_mode", path=f"{root}/copy", mode="0600") == OK and entry_of(server, f"{root}/copy")["user"] == "nobody"
    (root / "closed").chmod(0o700)
    assert call(server, "/list_dir", path=f"{root}/closed", details=True)["error_code"] == "permission_denied"
    assert call(server, "/stat_file", path=f"{root}/closed/file")["error_code"] == "permission_denied"
    assert sorted(os.listdir(root)) == ["closed", "copy", "own", "readable", "secret"] and (root / "secret").read_text() == "content"


# ---- modes ----


def test_set_mode(sandbox, workdir):
    sandbox.shell(f"cd {workdir} && mkdir -p d/closed/e out && touch file d/f d/closed/e/f out/f && ln -s ../out d/link && ln -s ../../out/f d/closed/link && ln -s file to-file \
        && chmod 600 out/f && chmod 0 d/closed")
    modes = f"cd {workdir} && stat -c '%n %a' file out out/f d d/f d/closed d/closed/e d/closed/e/f"
    assert call(sandbox, "/set_mode", path=f"{workdir}/to-file", mode="4711") == OK
    assert sandbox.shell(f"stat -c %a {workdir}/file") == "4711\n"
    assert call(sandbox, "/set_mode", path=f"{workdir}/d", mode="0750", recursive=True) == OK
    assert sandbox.shell(modes).split()[1::2] == ["4711", "755", "600", *["750"] * 5]
    assert call(sandbox, "/set_mode", path=f"{workdir}/d", mode="700") == OK
    assert call(sandbox, "/set_mode", path=f"{workdir}/d/closed", mode="0", recursive=True) == OK
    assert sandbox.shell(f"stat -c %a {workdir}/d/closed") == "0\n"
    for mode in ("", "8", "10000", "u+x", "-1", "0x1", "0000000"):
        assert sandbox.post("/set_mode", path=f"{workdir}/file", mode=mode).status_code == 400, mode
    assert call(sandbox, "/set_mode", 404, path=f"{workdir}/none", mode="600")["error_code"] == "not_found"
    sandbox.shell(f"chmod -R u+rwx {workdir}")


# ---- several files at once ----


def test_files_together(sandbox, workdir):
    files = [{"path": f"{workdir}/a", "content": "ü\n"}, {"path": f"{workdir}/none/b", "content": "x"}, {"path": f"{workdir}/bytes", "content": "AP8=", "encoding": "base64"},
             {"path": f"{workdir}/wrong", "content": "A", "is_base64": True}, {"path": f"{workdir}/empty"}, {"path": f"{workdir}/large", "content": "line\n" * 200_000}]
    results = call(sandbox, "/write_files", files=files)["results"]
    assert [(result["path"], result["success"], result.get("error_code")) for result in results] == [
        (file["path"], code is None, code) for file, code in zip(files, (None, "not_found", None, "invalid_request", None, None))]
    paths = [f"{workdir}/{name}" for name in ("a", "none/b", "bytes", "empty", "large", ".")] + ["/dev/null"]
    read = call(sandbox, "/read_files", paths=paths)["results"]
    assert [result["path"] for result in read] == paths
    assert read[0] == {"path": paths[0], "content": "ü\n"} and read[3]["content"] == "" and read[4]["content"] == "line\n" * 200_000
    assert read[2] == {"path": paths[2], "content": "AP8=", "is_base64": True}
    assert [read[number]["error_code"] for number in (1, 5, 6)] == ["not_found", "is_a_directory", "unsupported"]
    assert call(sandbox, "/read_files", paths=[]) == call(sandbox, "/write_files", files=[]) == {"results": []}
    sandbox.shell(f"cd {workdir} && printf 'caf\\351' >latin")
    assert call(sandbox, "/read_files", paths=[f"{workdir}/latin"])["results"] == [{"path": f"{workdir}/latin", "content": "caf\ufffd", "is_utf8": False}]


def test_lists_of_files_that_are_none(sandbox, workdir):
    good = {"path": f"{workdir}/new", "content": "x"}
    for files in ("x", {}, [good, 1], [good, {"content": "x"}], [good, {"path": ""}], [good, {"path": "a\0b"}], [good, {"path": "x", "content": 1}], None):
        assert call(sandbox, "/write_files", 400, files=files)["error_code"] == "invalid_request", files
    for paths in ("x", [1], [""], ["a\0b"], [["x"]], None):
        assert call(sandbox, "/read_files", 400, paths=paths)["error_code"] == "invalid_request", paths
    assert sandbox.shell(f"ls -A {workdir}") == ""
