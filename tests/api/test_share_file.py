"""POST /share_file: links that work without the token, for one method, one path and its parameters, until they expire."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import random
import re
import shutil
import string
import subprocess
import time
import urllib.parse

import pytest

from sandbox import REPOSITORY, TEST_USER, RawConnection, http_request, in_threads, user_ids, wait_until

pytestmark = pytest.mark.host

CONTENT = bytes(range(256)) * 40
HOUR = 3600


@pytest.fixture
def file(workdir):
    path = pathlib.Path(workdir, "file.txt")
    path.write_bytes(CONTENT)
    if TEST_USER:
        os.chown(path, *user_ids(TEST_USER))
    return path


def share(server, path, **fields):
    answer = server.post("/share_file", path=str(path), **fields)
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"path", "expires_at"}
    return answer.json()["path"]


def follow(server, link, method="GET", body=None, **headers):
    return server.call(method, link, body, token=False, headers={name.replace("_", "-"): value for name, value in headers.items()})


def raw(server, method, target, headers=(), body=b"", source=None):
    """The target as it stands: (status, headers, body)."""
    with RawConnection(server.host, server.port, source=source) as connection:
        return connection.exchange(http_request(method, target, [("Host", "x"), *headers], body), method)


def assert_unauthorized(answer, code="unauthorized"):
    assert answer.status_code == 401, (answer.status_code, answer.text)
    assert answer.headers["Content-Type"] == "application/json" and answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.json()["error_code"] == code and answer.json()["error"]


# ---- a link ----


def test_a_link(sandbox, file):
    before = time.time()
    answer = sandbox.post("/share_file", path=str(file))
    assert answer.headers["Content-Type"] == "application/json" and answer.headers["X-Request-ID"]
    link = answer.json()["path"]
    assert re.fullmatch(re.escape(f"/files{file}") + r"\?grant=[0-9]{13}\.[A-Za-z0-9_-]{43}", link)
    expires = int(re.search(r"grant=([0-9]+)", link)[1]) / 1000
    assert before + HOUR - 1 <= expires <= time.time() + HOUR + 1
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(expires)))
    assert re.fullmatch(re.escape(stamp) + r"\.[0-9]{9}Z", answer.json()["expires_at"])
    for _ in range(2):  # as often as one likes
        got = follow(sandbox, link)
        assert (got.status_code, got.content) == (200, CONTENT)
    assert got.headers["Referrer-Policy"] == "no-referrer" and got.headers["Content-Security-Policy"].startswith("sandbox")
    assert "Content-Disposition" not in got.headers
    head = follow(sandbox, link, "HEAD")
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", got.headers["ETag"])
    part = follow(sandbox, link, Range="bytes=10-19", If_Match=got.headers["ETag"])
    assert (part.status_code, part.content) == (206, CONTENT[10:20])
    assert follow(sandbox, link, If_None_Match=got.headers["ETag"]).status_code == 304


def test_a_link_is_to_a_path(sandbox, workdir):
    """Not to what is there now."""
    path = pathlib.Path(workdir, "later")
    link = share(sandbox, path)
    answer = follow(sandbox, link)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "not_found")
    sandbox.post("/write_file", path=str(path), content="first")
    assert follow(sandbox, link).text == "first"
    sandbox.post("/delete_file", path=str(path))
    sandbox.post("/write_file", path=str(path), content="second")
    assert follow(sandbox, link).text == "second"


def test_a_link_to_a_directory_shows_its_names(sandbox, file):
    link = share(sandbox, file.parent)
    assert follow(sandbox, link).json() == {"entries": ["file.txt"]}
    path, query = link.split("?")
    assert_unauthorized(follow(sandbox, f"{path}/file.txt?{query}"))
    assert follow(sandbox, share(sandbox, "/")).json()["entries"]


def test_download(sandbox, file):
    link = share(sandbox, file, download=True)
    assert "?download=1&grant=" in link
    assert follow(sandbox, link).headers["Content-Disposition"].startswith("attachment")


def test_a_relative_path(sandbox, workdir):
    name = f"link {os.path.basename(workdir)}"
    if not sandbox.post("/write_file", path=name, content="here").json()["success"]:
        pytest.skip("the commands' user may not write where commands start")
    try:
        for spelling in (name, f"./{name}", f".//./{name}"):
            assert follow(sandbox, share(sandbox, spelling)).text == "here"
    finally:
        sandbox.post("/delete_file", path=name)


@pytest.mark.parametrize("name", [
    "plain", "a b", "a+b", "a%41b", "a%b", "a?b", "a#b", "a&grant=b", "a;b", "a'b\"c", "a\\b", "...", "a..b", ".hidden", "~", "é", "日本", "😀",
    "a\nb", "\x01\x7f", "$1${host}", "{}|^`<>", "-_.~!*()@:,=[]",
])
@pytest.mark.parametrize("client", ["python", "curl", "node"])
def test_names(sandbox, workdir, name, client):
    """However a client writes the rest of the world's URLs, it sends this one as it is."""
    sandbox.post("/write_file", path=f"{workdir}/{name}", content=f"in {name}")
    link = share(sandbox, f"{workdir}//./{name}")
    assert re.fullmatch(r"[A-Za-z0-9/%._~?=&-]+", link)
    url = sandbox.url + link
    if client == "python":
        assert follow(sandbox, link).content == f"in {name}".encode()
    elif client == "curl":
        assert subprocess.run(["curl", "-gsf", url], stdout=subprocess.PIPE, check=True).stdout == f"in {name}".encode()
    else:
        script = "fetch(new URL(process.argv[1])).then(a => a.text()).then(text => process.stdout.write(text))"
        assert subprocess.run(["node", "-e", script, url], stdout=subprocess.PIPE, check=True).stdout == f"in {name}".encode()


def test_a_name_of_any_bytes(sandbox, workdir):
    path = os.path.join(os.fsencode(workdir), b"\xff\x01%\xc3")
    with open(path, "wb") as file:
        file.write(b"bytes")
    if TEST_USER:
        os.chown(path, *user_ids(TEST_USER))
    escaped = urllib.parse.quote(path)
    answer = sandbox.post("/share_file", path_escaped=escaped)
    assert answer.status_code == 200 and follow(sandbox, answer.json()["path"]).content == b"bytes"
    assert sandbox.post("/share_file", path_escaped=escaped.replace("nxs", "%6exs")).json()["path"].split("?")[0] == f"/files{escaped}"
    for fields in ({"path": "/x", "path_escaped": "/x"}, {"path_escaped": "/x%00y"}):
        assert sandbox.post("/share_file", **fields).json()["error_code"] == "invalid_request"
    assert sandbox.post("/share_file", path_escaped="/x/%2e%2e/y").json()["error_code"] == "invalid_path"


def test_an_archive(sandbox, file):
    """A link to one is for that kind; and no link to anything else becomes one."""
    link = share(sandbox, file.parent, archive="tar.gz")
    assert "?archive=tar.gz&grant=" in link
    names = subprocess.run(["tar", "tz"], input=follow(sandbox, link).content, stdout=subprocess.PIPE, check=True).stdout.split()
    assert b"./file.txt" in names
    for changed in (link.replace("tar.gz", "tar"), link.replace("?", "?include=*&"), share(sandbox, file.parent).replace("?", "?archive=tar&")):
        assert_unauthorized(follow(sandbox, changed))
    assert_unauthorized(follow(sandbox, link, "PUT", b"x"))
    put = share(sandbox, file.parent, method="PUT")
    assert_unauthorized(follow(sandbox, put.replace("?", "?archive=tar&"), "PUT", b"x"))


# ---- what is asked for wrongly ----


@pytest.mark.parametrize("fields, code, word", [
    ({}, "invalid_request", "path"),
    ({"path": ""}, "invalid_request", "path"),
    ({"path": "/tmp/../etc/passwd"}, "invalid_path", ".."),
    ({"path": ".."}, "invalid_path", ".."),
    ({"path": "/" + "x" * 8000}, "invalid_path", "long"),
    ({"path": "/" + "%" * 2500}, "invalid_path", "long"),
    ({"path": "/x\0y"}, "invalid_request", "path"),
    ({"path": "/x", "method": "POST"}, "invalid_request", "method"),
    ({"path": "/x", "method": "get"}, "invalid_request", "method"),
    ({"path": "/x", "method": "HEAD"}, "invalid_request", "method"),
    ({"path": "/x", "method": "GET x"}, "invalid_request", "method"),
    ({"path": "/x", "expires_in_ms": 0}, "invalid_request", "SANDBOX_MAX_LINK_LIFETIME"),
    ({"path": "/x", "expires_in_ms": 7 * 24 * HOUR * 1000 + 1}, "invalid_request", "604800000"),
    ({"path": "/x", "expires_in_ms": -1}, "invalid_request", "expires_in_ms"),
    ({"path": "/x", "expires_in_ms": 1.5}, "invalid_request", "expires_in_ms"),
    ({"path": "/x", "method": "PUT", "download": True}, "invalid_request", "download"),
    ({"path": "/x", "parents": True}, "invalid_request", "parents"),
    ({"path": "/x", "method": "PUT", "archive": "tar"}, "invalid_request", "archive"),
    ({"path": "/x", "archive": "zip"}, "invalid_request", "archive"),
    ({"path": "/x", "archive": "tar&include=x"}, "invalid_request", "archive"),
    ({"path": "/x", "method": "DELETE", "mode": "0600"}, "invalid_request", "mode"),
    ({"path": "/x", "method": "PUT", "mode": "8"}, "invalid_request", "mode"),
    ({"path": "/x", "method": "PUT", "mode": "7&recursive=1"}, "invalid_request", "mode"),
])
def test_what_is_refused(sandbox, fields, code, word):
    answer = sandbox.post("/share_file", **fields)
    assert (answer.status_code, answer.json()["error_code"]) == (400, code), answer.text
    assert word in answer.json()["error"]


def test_only_who_has_the_token_makes_links(sandbox, file):
    assert_unauthorized(sandbox.call("POST", "/share_file", {"path": str(file)}, token=False))
    link = share(sandbox, file)
    grant = link.split("?")[1]
    for path in ("/share_file", "/list_processes", "/health?full=1", "/run", f"/files{file}/..", "/nothing"):
        answer = sandbox.call("POST" if path in ("/share_file", "/run") else "GET", path + ("&" if "?" in path else "?") + grant,
                              {"path": "/", "cmd": "true"} if path in ("/share_file", "/run") else None, token=False)
        assert_unauthorized(answer)


# ---- what a link does not let its holder do ----


def test_nothing_of_it_may_be_changed(sandbox, file):
    link = share(sandbox, file)
    path, grant = link.split("?")
    expires, signature = grant.removeprefix("grant=").split(".")
    other = share(sandbox, f"{file}2").split("?")[1]
    download = share(sandbox, file, download=True).split("?")[1]
    changed = [
        # another path, or another spelling of it
        f"{path}2?{grant}", f"/files/etc/passwd?{grant}", f"/files?{grant}", f"/files/?{grant}", f"{path}/?{grant}", f"/{link}", f"/.{link}",
        f"/files/{link[6:]}", f"/files/.{link[6:]}", f"/files/x/..{link[6:]}", link.replace("file.txt", "%66ile.txt"),
        link.replace("file.txt", "file%2Etxt"), link.replace("file.txt", "./file.txt"), link.replace("/files/", "/%66iles/"),
        link.replace("/files/", "/files/%2F"), link.replace("/files/", "/Files/"), link.replace("?", "%3F"), link.replace("?", ";"),
        f"{path}?{other}", path, f"{path}?", f"/x/..{link}",
        # other parameters
        *(f"{path}?{more}&{grant}" for more in ("download=1", "recursive=1", "mode=0777", "archive=tar", "x", "", "grant", f"{grant}", "grant=")),
        *(link + more for more in ("&download=1", "&", "&archive=tar", "?", "x", "%20", "#x", f"&{grant}", "&grant=", "%00")),
        f"{path}?download=0&{download.split('&')[1]}", f"{path}?download=1&download=1&{download.split('&')[1]}",
        f"{path}??{grant}", f"{path}?x&grant={expires}.{signature}",
        # another grant
        f"{path}?grant={int(expires) + 1}.{signature}", f"{path}?grant=0{expires}.{signature}", f"{path}?grant=+{expires}.{signature}",
        f"{path}?grant={expires}.{signature[:-1]}", f"{path}?grant={expires}.{signature}=", f"{path}?grant={expires}.{'A' * 43}",
        f"{path}?grant={expires}.{signature.swapcase()}", f"{path}?grant={expires}", f"{path}?grant=.{signature}", f"{path}?grant={signature}",
        f"{path}?grant={expires}.{signature[1:] + signature[0]}", f"{path}?GRANT={expires}.{signature}", f"{path}?%67rant={expires}.{signature}",
        f"{path}?grant=99999999999999999999.{signature}", f"{path}?grant={expires}%2E{signature}", f"{path}?grant={expires}.{signature[:-1]}%00",
    ]
    for target in changed:
        status, headers, body = raw(sandbox, "GET", target)
        assert status in (400, 401), (target, status, body)
        assert headers["Content-Type"] == "application/json" and json.loads(body)["error_code"] in ("unauthorized", "invalid_request"), target
    for position in range(len(link)):  # each character
        replaced = link[:position] + ("A" if link[position] != "A" else "B") + link[position + 1:]
        assert raw(sandbox, "GET", replaced)[0] == (401 if position > 0 else 400), replaced
    for byte in (b"\xff", b"\xc3\xa9", b"\xef\xbf\xbd"):
        assert raw(sandbox, "GET", link.encode().replace(b"file", b"file" + byte))[0] in (400, 401)
    assert raw(sandbox, "GET", link)[0] == 200 and raw(sandbox, "GET", "http://other.example" + link)[0] == 200  # the host is no part of it


@pytest.mark.parametrize("granted", ["GET", "PUT", "DELETE"])
def test_it_is_for_one_method(sandbox, file, granted):
    link = share(sandbox, file, method=granted)
    for method in ("GET", "HEAD", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "PROPFIND", "get"):
        if method != granted and (granted, method) != ("GET", "HEAD"):
            assert raw(sandbox, method, link, [("Content-Length", "1")] if method == "PUT" else [], b"x" if method == "PUT" else b"")[0] in (400, 401, 405), method
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert raw(sandbox, "POST", link, [(name, granted), ("Content-Length", "1")], b"x")[0] == 401
        if granted == "GET":
            assert raw(sandbox, "GET", link, [(name, "DELETE")])[0] == 200
    assert file.read_bytes() == CONTENT
    status = raw(sandbox, granted, link, [("Content-Length", "3")] if granted == "PUT" else [], b"new" if granted == "PUT" else b"")[0]
    assert status == (200 if granted == "GET" else 204)
    assert (file.read_bytes() if file.exists() else None) == {"GET": CONTENT, "PUT": b"new", "DELETE": None}[granted]


def test_it_never_takes_a_tree(sandbox, file):
    """DELETE is for what is a file, or an empty directory: there is no link with recursive=1."""
    link = share(sandbox, file.parent, method="DELETE")
    assert follow(sandbox, link, "DELETE").json()["error_code"] == "not_empty" and file.exists()
    assert_unauthorized(follow(sandbox, link.replace("?", "?recursive=1&"), "DELETE"))
    assert sandbox.post("/share_file", path=str(file), method="DELETE", recursive=True).json()["path"].count("recursive") == 0


def test_a_token_decides_alone(sandbox, file):
    """Beside it the grant is a parameter like any unknown one; beside a wrong token it is a grant."""
    link = share(sandbox, file)
    assert sandbox.get(link).content == CONTENT and sandbox.get(link + "x&download=1").headers["Content-Disposition"]
    assert sandbox.call("PUT", link, b"by token").status_code == 204 and file.read_bytes() == b"by token"
    assert follow(sandbox, link, Authorization="Bearer wrong").content == b"by token"
    assert_unauthorized(follow(sandbox, link + "x", Authorization="Bearer wrong"))


# ---- uploads ----


def test_an_upload(sandbox, workdir):
    path = pathlib.Path(workdir, "new/directory/file")
    link = share(sandbox, path, method="PUT", parents=True, mode="0750")
    assert "?parents=1&mode=0750&grant=" in link
    content = os.urandom(3 << 20)
    answer = follow(sandbox, link, "PUT", content, Content_Digest=f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:")
    assert answer.status_code == 201, answer.text
    assert path.read_bytes() == content and path.stat().st_mode & 0o7777 == 0o750
    sent = subprocess.run(["curl", "-sS", "-T", "-", sandbox.url + link, "-w", "%{http_code}"], input=content[:100_000], stdout=subprocess.PIPE, check=True)
    assert sent.stdout == b"204" and path.read_bytes() == content[:100_000]
    tag = sandbox.call("HEAD", f"/files{path}").headers["ETag"]
    assert follow(sandbox, link, "PUT", b"x", If_Match='"other"').status_code == 412
    assert follow(sandbox, link, "PUT", b"x", If_Match=tag).status_code == 204 and path.read_bytes() == b"x"


def test_an_upload_that_is_too_large(make_server, tmp_path):
    server = make_server({"SANDBOX_MAX_UPLOAD": "10k", "SANDBOX_MAX_BODY": "1k"})
    link = share(server, tmp_path / "file", method="PUT")
    for target, status in ((link, 413), (link + "x", 401)):
        assert raw(server, "PUT", target, [("Content-Length", str(1 << 20))])[0] == status
    assert follow(server, link, "PUT", b"x" * 5000).status_code == 201  # SANDBOX_MAX_BODY is not for files


def test_the_check_comes_before_the_body(sandbox, file):
    with sandbox.raw() as connection:
        connection.send(http_request("PUT", share(sandbox, file, method="PUT") + "x", [("Host", "x"), ("Content-Length", "1000000"), ("Expect", "100-continue")]))
        assert connection.reader.readline().startswith(b"HTTP/1.1 401 ")


# ---- its end ----


def test_it_expires(sandbox, file):
    link = share(sandbox, file, expires_in_ms=1)
    wait_until(lambda: follow(sandbox, link).status_code == 401, "its end")
    assert_unauthorized(follow(sandbox, link), "expired")
    assert follow(sandbox, link).json()["error"] == "The link has expired"
    for changed in (link + "x", link.replace("file", "other"), link.replace("?", "?download=1&")):
        assert_unauthorized(follow(sandbox, changed))
    assert_unauthorized(follow(sandbox, link, "DELETE"))
    assert sandbox.get(link).status_code == 200


def test_how_long_it_may_live(make_server, file):
    server = make_server({"SANDBOX_MAX_LINK_LIFETIME": "10m"})
    answer = server.post("/share_file", path=str(file), expires_in_ms=600_001)
    assert answer.status_code == 400 and "600000" in answer.json()["error"]
    assert follow(server, share(server, file, expires_in_ms=600_000)).status_code == 200
    expires = int(re.search(r"grant=([0-9]+)", share(server, file))[1]) / 1000
    assert abs(expires - time.time() - 600) < 60


def test_none_are_made(make_server, file):
    server = make_server({"SANDBOX_MAX_LINK_LIFETIME": "0"})
    answer = server.post("/share_file", path=str(file))
    assert (answer.status_code, answer.json()["error_code"]) == (403, "unsupported") and "SANDBOX_MAX_LINK_LIFETIME" in answer.json()["error"]
    assert_unauthorized(follow(server, f"/files{file}?grant=9999999999999.{'A' * 43}"))


# ---- restarts and secrets ----


def test_it_outlives_daemons_and_whole_starts(make_server, file):
    server = make_server(secret="one")
    link = share(server, file)
    for daemon in ("fcgi-app", "procd", "nginx"):
        server.back(daemon, server.kill_daemon(daemon))
        assert follow(server, link).content == CONTENT
    server.stop()
    assert follow(make_server(secret="one"), link).content == CONTENT
    assert_unauthorized(follow(make_server(secret="other"), link))


def test_it_ends_with_the_secret(make_server, file):
    """While two secrets are valid links of both work, and new ones are the new one's."""
    link = share(make_server(secret="old"), file)
    both = make_server({"SANDBOX_SECRET": "new\nold"}, secret="new")
    assert follow(both, link).content == CONTENT
    fresh = share(both, file)
    new = make_server(secret="new")
    assert follow(new, fresh).content == CONTENT
    assert_unauthorized(follow(new, link))
    assert_unauthorized(follow(make_server(secret="old"), fresh))


def signed(secret, method, expires, target, kind="file", sandbox="default"):
    """The signature, as docs/security.md describes it."""
    def digest(key, text):
        return base64.urlsafe_b64encode(hmac.digest(key.encode(), text.encode(), "sha256")).decode().rstrip("=")

    key = digest(secret, "nginx-sandbox grants 1")
    return digest(key, "\n".join(["nginx-sandbox-grant-1", sandbox, kind, method, str(expires), target]))


@pytest.mark.parametrize("secret", ["x", "a" * 64, "b" * 65, "é✓ \"$\\" * 40, " spaces in front"])
def test_the_signature(make_server, file, secret):
    """HMAC-SHA-256 of all that a grant is about, with a key that follows from the secret."""
    server = make_server(secret=secret)
    link = share(server, file, download=True)
    target, expires, signature = re.fullmatch(r"(.*)grant=([0-9]+)\.(.*)", link).groups()
    assert signature == signed(secret.lstrip(" "), "GET", expires, target)
    forged = f"/files/etc/hostname?grant={expires}."
    assert follow(server, forged + signed(secret.lstrip(" "), "GET", expires, "/files/etc/hostname?")).status_code in (200, 404)
    for wrong in ({"kind": "port"}, {"sandbox": "other"}, {"method": "PUT"}, {"secret": secret + "x"}):
        words = {"secret": secret.lstrip(" "), "method": "GET", "expires": expires, "target": "/files/etc/hostname?", **wrong}
        assert_unauthorized(follow(server, forged + signed(**words)))
    for target in ("/run?", "/files?", "/filesx/y?", "/uploads/x?", "/port/80/?", "/list_processes?"):  # of no kind, whoever has signed it
        assert_unauthorized(follow(server, f"{target}grant={expires}.{signed(secret.lstrip(' '), 'GET', expires, target)}"))


# ---- failures ----


def test_failures_count_as_failed_tokens(make_server, file):
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "1"})
    link = share(server, file)
    short = share(server, file, expires_in_ms=1)
    for number, bad in enumerate((link + "x", link.replace("?", "?archive=tar&"), short)):
        source = (f"127.0.3.{number + 1}", 0)
        wait_until(lambda bad=bad, source=source: raw(server, "GET", bad, source=source)[0] == 429, "a 429")
        _, headers, body = raw(server, "GET", bad, source=source)
        assert headers["Retry-After"] == "1" and json.loads(body)["error_code"] in ("too_many", "unauthorized", "expired")
        for _ in range(30):
            assert raw(server, "GET", link, source=source)[0] == 200  # the right one is never limited


def test_it_is_in_no_log(make_server, file, open_directory):
    """Nor is a part of it, whatever happens to the request."""
    log = open_directory / "access.log"
    server = make_server({"LOG_LEVEL": "debug", "SANDBOX_ACCESS_LOG": str(log), "SANDBOX_MAX_FAILED_AUTH": "2", "SANDBOX_MAX_UPLOAD": "10k"})
    link, put = share(server, file), share(server, file, method="PUT")
    for target in (link, link + "x", link + "&x=1", link.replace("file.txt", "none"), link.replace("file.txt", "\xff")):
        for headers in ([], [("Referer", f"http://x{link}")], [("Range", "bytes=99999999-")], [("Content-Length", "nonsense")], [("X-Request-ID", link)]):
            raw(server, "GET", target.encode("latin-1"), headers)
    raw(server, "PUT", put, [("Content-Length", str(1 << 30))])
    raw(server, "PUT", put, [("Transfer-Encoding", "chunked")], b"zz\r\n")
    raw(server, "GET", link + "x" * 9000)
    raw(server, "G\x01T", link)
    for _ in range(30):
        raw(server, "GET", link + "x")
    with server.raw() as connection:
        connection.send(http_request("PUT", put, [("Host", "x"), ("Content-Length", "100")], b"x"))
    server.kill_daemon("fcgi-app")
    raw(server, "GET", link)
    os.kill(server.daemon("fcgi-app"), 9)
    wait_until(lambda: follow(server, link).status_code == 200, "it to work again")
    wait_until(lambda: log.read_text().count("/files/...") > 5, "lines in the access log")
    said = log.read_bytes() + (server.launch.stdout.text + server.launch.stderr.text).encode()
    for path in server.run_dir.rglob("*"):
        if path.is_file() and not path.is_symlink():
            said += path.read_bytes()
    for words in (link, put):
        expires, signature = words.split("grant=")[1].split(".")
        for tale in (expires, signature[:12], signature[-12:], "grant=" + expires[:5]):
            assert tale.encode() not in said, tale


def test_the_line_of_a_link(make_server, file, open_directory):
    """Links have lines of their own in the access log, also more of them than strangers may have."""
    log = open_directory / "access.log"
    server = make_server({"SANDBOX_ACCESS_LOG": str(log)})
    link = share(server, file)
    for _ in range(50):
        assert follow(server, link).status_code == 200
    wait_until(lambda: log.read_text().count('"uri":"/files/..."') == 50, "fifty lines")
    line = json.loads(log.read_text().splitlines()[-1])
    assert (line["endpoint"], line["status"], line["method"]) == ("/files", 200, "GET")


def test_fcgi_app_sees_no_grant(sandbox, file):
    """nginx takes it out of the query: what is left is what was signed."""
    answer = follow(sandbox, share(sandbox, file, method="PUT", mode="0640"), "PUT", b"x")
    assert answer.status_code == 204 and file.stat().st_mode & 0o777 == 0o640


# ---- where it is joined ----


def test_below_a_prefix(make_server, file):
    """A link begins behind the base URL by which the client reaches the API."""
    server = make_server({"SANDBOX_PREFIX": "/sandbox, /a/b"})
    link = share(server, file)
    assert link.startswith("/files/")
    assert server.call("POST", "/a/b/share_file", {"path": str(file)}).json()["path"].startswith("/files/")
    for prefix in ("", "/sandbox", "/a/b"):
        assert follow(server, prefix + link).content == CONTENT
        assert_unauthorized(follow(server, prefix + link + "x"))
    for target in ("/other" + link, "/sandbox/sandbox" + link, "/%73andbox" + link, "/sandbox/" + link, "//sandbox" + link):
        assert raw(server, "GET", target)[0] == 401, target


def test_a_pool(make_server, open_directory, file):
    """Nobody has made a link before it is claimed. Links live as long as the claim."""
    settings = {"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(open_directory / "claim"), "SANDBOX_SECRET": None}
    server = make_server(settings)
    expires = int(time.time() + HOUR) * 1000
    for key in ("", "undefined", "null", server.secret):
        assert_unauthorized(follow(server, f"/files{file}?grant={expires}.{signed(key, 'GET', expires, f'/files{file}?')}"))
    assert_unauthorized(server.call("POST", "/share_file", {"path": str(file)}, token=False))
    assert not (open_directory / "claim").exists()
    link = share(server, file)  # the first token, too
    assert follow(server, link).content == CONTENT and follow(server, share(server, file)).content == CONTENT
    assert follow(server, share(server, open_directory / "put", method="PUT"), "PUT", b"x").status_code in (201, 403)
    assert_unauthorized(follow(server, link + "x"))
    server.stop()
    again = make_server(settings, secret=server.secret)
    assert follow(again, link).content == CONTENT and follow(again, share(again, file)).content == CONTENT
    again.stop()
    (open_directory / "claim").unlink()
    next_one = make_server(settings)
    share(next_one, file)
    assert_unauthorized(follow(next_one, link))


def test_a_page_of_another_origin(make_server, file):
    """It follows a link as it calls the API: if SANDBOX_CORS_ORIGINS names its origin."""
    page = "https://app.example.org"
    server = make_server({"SANDBOX_CORS_ORIGINS": page})
    link, put = share(server, file), share(server, file, method="PUT")
    answer = follow(server, link, Origin=page)
    assert answer.headers["Access-Control-Allow-Origin"] == page and answer.content == CONTENT
    assert follow(server, link + "x", Origin=page).headers["Access-Control-Allow-Origin"] == page
    assert "Access-Control-Allow-Origin" not in follow(server, link, Origin="https://other.example").headers
    preflight = follow(server, put, "OPTIONS", Origin=page, Access_Control_Request_Method="PUT")
    assert preflight.status_code == 204 and "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert follow(server, put, "PUT", b"page", Origin=page).status_code == 204 and file.read_bytes() == b"page"
    assert follow(server, put, "OPTIONS", Origin="https://other.example", Access_Control_Request_Method="PUT").status_code == 403


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give commands another user")
def test_no_command_reads_the_key(make_server):
    server = make_server({"SANDBOX_USER": "nobody"})
    key = re.search(r'_default "([\w-]{43})";', (server.run_dir / "nginx/generated/grants.conf").read_text())[1]
    answer = server.run(f"cat {server.run_dir}/nginx/generated/*; grep -r . {server.run_dir}; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'")
    assert key not in answer["stdout"] + answer["stderr"] and server.secret not in answer["stdout"]
    assert "content" not in server.post("/read_file", path=f"{server.run_dir}/nginx/generated/grants.conf").json()
    assert server.get(f"/files{server.run_dir}/nginx/generated/grants.conf").status_code == 403


def test_many_at_once(sandbox, file):
    links = in_threads(8, lambda number: [share(sandbox, f"{file}{number}{i}") for i in range(20)])
    assert len({link for some in links for link in some}) == 160


# ---- the parser ----

PROPERTIES = """
import grants from "file://%s";
import readline from "readline";
const key = "key", now = 1000, lines = readline.createInterface({ input: process.stdin });
lines.on("line", line => {
    const [method, link] = JSON.parse(line);
    const grant = grants.parse(method, link);
    const judged = grants.judge([key], "default", grant, now);
    const whole = grant && `${grant.target}grant=${grant.expires}.${grants.signature(key, "default", grant)}`;
    console.log(JSON.stringify([grant, judged, whole, whole && grants.judge(["other", key], "default", grants.parse(method, whole), now)]));
});
"""


def test_the_parser_takes_a_link_to_the_letter(tmp_path):
    """Whatever it gets, what it takes is all that stands there; and each grant that it signs is read as it was made."""
    script = tmp_path / "properties.mjs"
    shutil.copy(REPOSITORY / "nginx/grant.js", tmp_path / "grant.mjs")
    script.write_text(PROPERTIES % (tmp_path / "grant.mjs"))
    choose = random.Random(7)
    pieces = ["/files", "/files/", "/", "a", "%2e", "..", "?", "&", "grant=", "download=1", "grant", "=", ".", "1", "123456789012345", "A" * 43, "B" * 42,
              "#", " ", "\n", "\0", "é", "\ufffd", "\ud83d\ude00", "-", "_", "+", "&grant=1." + "A" * 43, "?grant=2." + "c" * 43, "\r", "\u2028"]
    cases = [(choose.choice(["GET", "HEAD", "PUT", "DELETE", "POST", "constructor", ""]),
              ("/files/x" if choose.random() < 0.7 else "") + "".join(choose.choices(pieces, k=choose.randrange(8)))
              + ("?grant=99." + "".join(choose.choices(string.ascii_letters + string.digits + "-_", k=43)) if choose.random() < 0.7 else ""))
             for _ in range(20_000)]
    done = subprocess.run(["node", script], input="\n".join(json.dumps(case) for case in cases), stdout=subprocess.PIPE, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases)
    taken = 0
    for (method, link), (grant, judged, whole, again) in zip(cases, answers):
        shaped = re.fullmatch(r"(/files/[!-\"$->@-~]*\?(?:[!-\"$-~]*&)?)grant=([0-9]{1,15})\.([A-Za-z0-9_-]{43})", link)
        expected = shaped and method in ("GET", "HEAD", "PUT", "DELETE")
        assert bool(grant) == bool(expected), (method, link)
        assert judged == ""  # nobody signed it
        if grant:
            taken += 1
            assert f"{grant['target']}grant={grant['expires']}.{grant['signature']}" == link
            assert grant["kind"] == "file" and grant["method"] == ("GET" if method == "HEAD" else method)
            assert whole != link and again == ("1" if int(grant["expires"]) > 1000 else "expired")
    assert taken > 1000


def test_garbage(sandbox, file):
    """The same through nginx's own engine: no answer but 401 or 400, and none from fcgi-app."""
    choose = random.Random(11)
    path, grant = share(sandbox, file).split("?")
    for _ in range(300):
        text = bytearray(f"{path}?{grant}".encode())
        for _ in range(choose.randrange(1, 4)):
            position = choose.randrange(len("/files/"), len(text))
            how = choose.randrange(3)
            if how == 0:
                text[position] = choose.choice(b"?&=.%/#~A0\xff\xc3")
            elif how == 1:
                del text[position]
            else:
                text.insert(position, choose.choice(b"?&=.%/#~A0\xff\xc3"))
        if bytes(text) != f"{path}?{grant}".encode():
            assert raw(sandbox, "GET", bytes(text))[0] in (400, 401), text
    assert follow(sandbox, urllib.parse.urljoin("/", f"{path}?{grant}")).content == CONTENT
