"""Calls on files beside reading and writing: details of entries, moves, copies, modes."""

import urllib.parse


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
