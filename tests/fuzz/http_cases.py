"""
What the HTTP fuzzer sends: requests to every endpoint that are right, and the same with something wrong in the body, the
headers, the framing, the request line, or the way they are sent. A case is made from its number and the seed alone (and
the ids of processes that there are).

Commands come from a fixed list, and paths lie below a directory of the fuzzer: harmless() looks at each body as the
server will read it, and what it does not like is not sent.
"""

import base64
import dataclasses
import hashlib
import json
import random
import sys
import urllib.parse

from sandbox import listed_endpoints

sys.setrecursionlimit(10000)  # for what is nested deeply, see VALUES

COMMANDS = (
    "true", "exit 3", "exit 300", "echo hello", "echo error >&2; echo out", "printf 'a\\r\\nb\\n\\nc'", "printf '\\377\\000\\303'",
    "head -c 200000 /dev/zero", "seq 2000", "kill -9 $$", "kill -TERM $$", "sleep 0.02", "cat", "read line; echo \"$line\"",
    "(sleep 0.1 &)", "no-such-command", "'", "echo $FUZZ_A",
)

ARGVS = (["true"], ["echo", "a b", "'", ""], ["cat"], ["no-such-program"], ["/etc/passwd"], ["/"], [""], [], ["true", "x" * 140_000], ["./true"])

# JSON texts of what is no usual value.
VALUES = (
    "null", "true", "false", "0", "-0", "-1", "1", "1.5", "1e999", "01", "+1", ".5", "8080", "65536", "0x0f", "NaN", "1" * 500,
    "9007199254740991", "9007199254740992", "18446744073709551616", "15", "64",
    "[]", "{}", "[1, [2]]", '{"A": "b"}', '{"A": 1}', '{"": "x"}', '{"A=B": "x"}', '{"A": "\\u0000"}',
    '""', '" "', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\x"', "'x'", '"', '"\t"', '"\x7f"', '"%s"', '"%00"', '"../.."',
    '"8080"', '"SIGTERM"', '"KILL"', '"550e8400-e29b-41d4-a716-446655440000"', json.dumps("x" * 5000), json.dumps("é" * 3000),
    "[" * 900 + "]" * 900, "[" * 1500 + "]" * 1500, '{"a":' * 1200 + "1" + "}" * 1200, "undefined", "[1,]", '{"a":1,}', "/* */ 1",
)

NAMES = ("cmd", "argv", "cwd", "env", "stdin", "stdin_encoding", "output_encoding", "timeout_ms", "kill_grace_ms", "memory_max", "pids_max", "cpu_max", "path", "content", "encoding", "is_base64", "port", "id",
         "signal", "grace_ms", "data", "method", "expires_in_ms", "download", "mode", "eof", "offset", "max_bytes", "line", "max_lines",
         "edits", "if_match", "from", "to", "overwrite", "recursive", "details", "no_follow", "limit", "cursor", "glob", "type", "pattern", "fixed", "ignore_case", "context_lines", "paths", "files", "x", "", "\\u0063md")

METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "FOO", "get", "PRI", "G" * 1000, "G\0T", "")

# {path: method}, and a path that is none.
ENDPOINTS = {endpoint.path: endpoint.method for endpoint in listed_endpoints() if endpoint.trait != "METRICS"} | {"/nothing": "GET"}
# Their answers come when something else happens.
WAITING = tuple(endpoint.path for endpoint in listed_endpoints() if endpoint.trait in ("LASTS", "STREAMS"))


class World:
    """What cases are made with: the secret, a directory, and the ids of processes that were started."""

    def __init__(self, secret, directory):
        self.secret, self.directory = secret, directory
        self.jobs, self.uploads = [], []
        # Somebody without the token tries to make this file.
        self.canary = f"{directory}/canary"
        self.canary_command = f": >{self.canary}"

    def job(self, rng):
        jobs = self.jobs[-50:]
        return rng.choice(jobs) if jobs and rng.random() < 0.9 else "550e8400-e29b-41d4-a716-446655440000"

    def upload(self, rng):
        uploads = self.uploads[-20:]
        return rng.choice(uploads) if uploads and rng.random() < 0.9 else rng.choice(("0" * 32, "..", "%2e%2e", "x", "0" * 32 + ".done", "0" * 32 + "/"))

    def path(self, rng):
        return self.directory + "/" + rng.choice(
            ("a", "b", "a/b", "a/b/c", "é", "x y", "\\", "a\nb", "n" * 255, "n" * 256, "d/" * 200 + "e", "-rf"))

    def harmless(self, body):
        """Whether the server can do what `body` says. It reads the first JSON value, and nothing may follow."""
        pairs = []

        def take(object_pairs):
            pairs.extend(object_pairs)
            return {}

        text = body.decode("utf-8", "surrogateescape").lstrip(" \t\r\n")
        decoder = json.JSONDecoder(object_pairs_hook=take, strict=False, parse_int=str, parse_float=str)
        try:
            decoder.raw_decode(text)
        except json.JSONDecodeError:
            return True  # not JSON; the server is stricter
        except (ValueError, RecursionError):
            return False
        return all(self._allows(name, value) for name, value in pairs if isinstance(value, str)) and all(
            value in ARGVS or not all(isinstance(word, str) for word in value) for name, value in pairs if name == "argv" and isinstance(value, list))

    def _allows(self, name, value):
        if name == "cmd":
            return value in COMMANDS or value in ("", self.canary_command)
        if name in ("path", "from", "to"):
            return not value or (value.startswith(self.directory + "/") and ".." not in value.split("/"))
        return True


# ---- requests that are right ----


GLOBS = ("*", "**", "a*/**/[!b]", "{a,b{c,d}}", "[", "{", "?", "\\", "{" * 300, "*" * 1024, "**/" * 300, "[é-ü]", "/", "")
CURSORS = ("0:", "3:a/b", "x", "1:%ff", "99999999999999999999:a", "0:../..", "1:a/%00", "0:/")
PATTERNS = ("text", "x+", "(x+x+)+y", "(", "é", "^$", "(?<=t)e", "[a-z]+t", "\\h", "$", "\\Q", "(?R)", "(*ACCEPT)a", "(?C1)x", "\\C", "x{65536}", "(?i)É|\\p{Lu}", "[[:alpha:]", "(a*)*b\\z")


def fields_of(rng, world, path):
    """The members of a body, by name: their JSON texts."""
    def maybe(**members):
        return {name: value for name, value in members.items() if rng.random() < 0.3}

    command = {"cmd": rng.choice(COMMANDS), **maybe(cwd="/tmp", env={"FUZZ_A": rng.choice(("b", None)), "FUZZ_C": "é"},
                                                    timeout_ms=rng.choice((0, 1, 50, 1000)), kill_grace_ms=10)}
    if rng.random() < 0.2:
        command["argv"] = rng.choice(ARGVS)
        if rng.random() < 0.9:
            del command["cmd"]
    if rng.random() < 0.2:
        command |= maybe(memory_max=rng.choice((4 << 20, 64 << 20)), pids_max=rng.choice((1, 10)), cpu_max=rng.choice((1, 100)))
    content = "".join(rng.choice(("text ", "\n", "\0", "é", "😀", '"', "\\", "\r", "\ud83d", "x" * 1000)) for _ in range(rng.randrange(20)))
    members = {
        "/run": lambda: {**command, **maybe(stdin=content, stdin_encoding=rng.choice(("utf-8", "base64", "x")), output_encoding=rng.choice(("utf8", "base64", "x")))},
        "/run_streaming": lambda: {**command, **maybe(stdin=rng.choice((content, "AAA=", "AA")), stdin_encoding=rng.choice(("utf-8", "base64", "x")))},
        "/start_process": lambda: {**command, **maybe(stdin=True, pty=rng.choice(({}, {"cols": 100, "rows": 0}, {"term": "dumb"}, 1))),
                                  **rng.choice(({}, {}, {"wait_port": rng.choice((9, "9", 0, 65535)), "wait_timeout_ms": rng.choice((0, 1, 20))}))},
        "/kill_run": lambda: {"id": rng.choice(("00000000-1", "x", "-", "0-0", "1-18446744073709551615"))},
        "/write_file": lambda: {"path": world.path(rng), "content": content, **maybe(encoding=rng.choice(("utf-8", "base64", "x")), is_base64=True)},
        "/read_file": lambda: {"path": world.path(rng), **maybe(encoding=rng.choice(("utf-8", "base64", "x")), is_base64=False, offset=rng.choice((0, 1, 5, 70_000, (1 << 53) - 1)),
                                                                     max_bytes=rng.choice((0, 1, 3, 100)), line=rng.choice((0, 1, 2, 1 << 40)), max_lines=rng.choice((1, 7)))},
        "/edit_file": lambda: {"path": world.path(rng), "edits": [{"old_str": rng.choice(("text ", "x", "é", "")), **maybe(new_str=content, expected_count=rng.randrange(3))}
                                                                  for _ in range(rng.randrange(3))], **maybe(if_match='"x"')},
        "/share_file": lambda: {"path": world.path(rng), **maybe(method=rng.choice(("GET", "PUT", "DELETE", "x")), expires_in_ms=rng.choice((1, 60000)), download=True, parents=True, mode="0640")},
        "/find_files": lambda: {"path": world.directory + "/.", **maybe(glob=rng.choice(GLOBS), type=rng.choice(("file", "directory", "x")), limit=rng.randrange(4), cursor=rng.choice(CURSORS))},
        "/search_files": lambda: {"path": world.directory + "/.", "pattern": rng.choice(PATTERNS),
                                  **maybe(fixed=True, ignore_case=True, glob=rng.choice(GLOBS), limit=rng.randrange(4), context_lines=rng.randrange(22), cursor=rng.choice(CURSORS))},
        "/read_files": lambda: {"paths": [world.path(rng) for _ in range(rng.randrange(4))]},
        "/write_files": lambda: {"files": [{"path": world.path(rng), "content": content, **maybe(encoding="base64")} for _ in range(rng.randrange(3))]},
        "/list_dir": lambda: {"path": world.path(rng), **maybe(details=True, limit=rng.choice((1, 2)), cursor=rng.choice(("a", "%ff", "%00")))},
        "/stat_file": lambda: {"path": world.path(rng), **maybe(no_follow=True)},
        "/move_file": lambda: {"from": world.path(rng), "to": world.path(rng), **maybe(overwrite=True)},
        "/copy_file": lambda: {"from": world.path(rng), "to": world.path(rng), **maybe(overwrite=True)},
        "/set_mode": lambda: {"path": world.path(rng), "mode": rng.choice(("700", "0777", "8", "")), **maybe(recursive=True)},
        "/bind_port": lambda: {"port": rng.choice((9, "9", 65535))},
        "/wait_port": lambda: {"port": rng.choice((9, "9", 65535, 0)), "timeout_ms": rng.choice((0, 1, 20))},
        "/share_port": lambda: {"port": rng.choice((9, "9", 0, 65535)), **maybe(expires_in_ms=rng.choice((1, 60000)), path=rng.choice(("/", "//x?y", "/\r\n", "x")), public=True,
                                                                                 embed_origins=[rng.choice(("https://a.example", "*", "x;y", 1)) for _ in range(rng.randrange(3))])},
        "/unshare_port": lambda: maybe(port=rng.choice((9, "9", 0)), id=rng.choice(("0123456789abcdef", "../target", "x"))),
        "/kill_process": lambda: {"id": world.job(rng), **maybe(signal=rng.choice(("TERM", "SIGUSR1", 9)), grace_ms=10)},
        "/wait_process": lambda: {"id": world.job(rng), "timeout_ms": rng.choice((0, 1, 20))},
        "/read_output": lambda: {"id": world.job(rng), "timeout_ms": rng.choice((0, 1, 20)),
                                 **maybe(offset=rng.choice(("end", "x", "01234567-0-0+1", 0)), settle_ms=rng.randrange(30), until=rng.choice(("1", "\n", content)),
                                         max_bytes=rng.choice((0, 4, 1048576, 1048577)), encoding=rng.choice(("base64", "x")), data=content)},
        "/write_stdin": lambda: {"id": world.job(rng), **maybe(data=content, eof=True)},
        "/resize_terminal": lambda: {"id": world.job(rng), "cols": rng.choice((0, 1, 80, 65535, 65536)), "rows": rng.choice((1, 24, (1 << 53) - 1))},
        "/delete_process": lambda: {"id": world.job(rng)},
    }.get(path)
    if members is None:
        members = (lambda: {"path": world.path(rng)}) if path.endswith(("_file", "_dir")) else dict
    return {name: json.dumps(value, ensure_ascii=rng.random() < 0.5) for name, value in members().items()}


def query_of(rng, world, path):
    if path in ("/get_process", "/read_screen"):
        return f"?id={world.job(rng)}"
    if path == "/health":
        return rng.choice(("", "?full=1", "?full=1&full=0", "?full=true", "?full=false", "?full=", "?x"))
    if path == "/list_processes":
        return rng.choice(("", "?full=1", "?full=true", "?full=0", "?full=2", "?x"))
    if path == "/files":
        escaped = urllib.parse.quote(world.path(rng), safe=rng.choice(("/", "", "/ab")))
        more = ("", "", "?download=1", "?download=2", "/", "%", "?parents=1&mode=0644", "?mode=9&mtime=1.5", "?mtime=x",
                "?archive=tar", "?archive=tar.gz&include=*&exclude=%27", "?archive=tar.zst&parents=1", "?archive=zip", "?archive=tar&include=%00",
                f"?grant=9999999999999.{'A' * 43}", "?download=1&grant=1.x", "?grant=")
        return f"/{escaped.lstrip('/')}{rng.choice(more)}"
    if path == "/process_logs_streaming":
        more = rng.choice(("", "&follow=0", "&follow=false", "&follow=0&tail=1", "&tail=0", "&cursor=0", "&cursor=550e8400-1-2", "&follow=2",
                           "&tail=-1"))
        return f"?id={world.job(rng)}{more}"
    if path == "/file_changes_streaming":
        watched = urllib.parse.quote(rng.choice((world.directory, world.directory + "/none", "/etc/passwd", "/proc/self", "x\0")))
        more = rng.choice(("", "&recursive=1", "&recursive=2", "&glob=*.c", "&glob=%5Ba", "&glob=%FF", "&x"))
        return rng.choice((f"?path={watched}{more}", f"?path={watched}{more}", "", "?path="))
    return rng.choice(("", "", "", "?", "?x=%zz&y"))


# The methods of /uploads, in a mix that finishes some of them.
UPLOADS = ("POST", "POST", "PATCH", "PATCH", "PATCH", "HEAD", "DELETE")
OFFSETS = ("0", "0", "1", "5", "10", "-1", "x", "", "18446744073709551616")


def tus_headers(rng, world, method, body):
    """The headers of tus, of which some are wrong."""
    path = base64.b64encode(world.path(rng).encode()).decode()
    more = rng.choice(("", ",parents", ",mode MDYwMA==", ",mtime MQ==", ",exclusive", ",mode eA==", ",x", ", filename eA==", ",parents eA==", ",", ",path Lw==", ",x \xff"))
    digests = {name: base64.b64encode(hashlib.new(name, body).digest()).decode() for name in ("sha1", "sha256")}
    checksum = rng.choice((f"sha1 {digests['sha1']}", f"sha256 {digests['sha256']}", f"sha256 {digests['sha1']}", f"sha1 {base64.b64encode(b'x' * 20).decode()}", "md5 AA==", "sha1", "x"))
    headers = [("Tus-Resumable", rng.choice(("1.0.0",) * 9 + ("0.2.2",)))]
    if method == "POST":
        headers += [("Upload-Length", rng.choice((str(len(body)), str(len(body) + 5), "10", "0", *OFFSETS))), ("Upload-Metadata", rng.choice((f"path {path}{more}",) * 9 + ("x", "path !")))]
    if method == "PATCH":
        headers += [("Upload-Offset", rng.choice(OFFSETS))]
    if method in ("POST", "PATCH"):
        headers += [("Content-Type", rng.choice(("application/offset+octet-stream",) * 9 + ("text/plain",)))]
        headers += [("Upload-Checksum", checksum)] if rng.random() < 0.3 else []
        headers += [("X-HTTP-Method-Override", rng.choice(("PATCH", "DELETE", "HEAD", "PUT", "x")))] if rng.random() < 0.1 else []
    return headers


def body_of(fields):
    return ("{" + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}").encode("utf-8", "surrogatepass")


# ---- mutations ----


def mutate_fields(rng, fields):
    """One member gets a strange value, goes, comes twice, or joins."""
    fields = dict(fields)
    name = rng.choice(list(fields) or ["x"])
    kind = rng.randrange(4)
    if kind == 0:
        fields[name] = rng.choice(VALUES)
    elif kind == 1:
        fields.pop(name, None)
    elif kind == 2:
        fields[rng.choice(NAMES)] = rng.choice(VALUES)
    else:
        twin = rng.choice((name, "".join(f"\\u{ord(letter):04x}" for letter in name)))
        fields[name] = f'{fields.get(name, "1")}, "{twin}": {rng.choice(VALUES)}'
    return fields


def mutate_bytes(rng, data):
    """A few bytes are changed, cut, repeated or added."""
    data = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            data[at:at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            data[at:at] = rng.choice((b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"', b"{", b"}", b"\\", b",", b":",
                                      b"\r\n", b"\x1f"))
        elif kind == 2:
            del data[at:at + rng.randrange(1, 20)]
        elif kind == 3:
            data = data[:at]
        elif kind == 4:
            data[at:at] = data[at:at + 30]
        else:
            data += rng.choice((b" ", b"x", b"{}", b"\0", b"\n\n", b"]"))
    return bytes(data)


def mutate_target(rng, target):
    path, _, query = target.partition("?")
    return rng.choice((
        "", "*", path[1:], path + "/" + query, "/" + target, "/health/.." + target, "/%2e%2e" + target, target + "%00",
        "/%" + f"{ord(path[1]):02x}" + path[2:], target + "#x", "http://x" + target, target + "?" + "q" * 9000, target + "&id=%00",
        path + "?" + "a&" * 3000, "/" + "x" * 70000, target.upper(), path + ";x=1", target + "\xff", target + " x",
        "/nginx_sandbox_refused", path + "?id=" + "%41" * 500,
    ))


def wrong_tokens(secret):
    return (None, "", "Bearer", f"bearer {secret}x", f"Bearer {secret}x", f"Bearer x{secret}", f"Bearer {secret[:-1]}", f"Bearer\t{secret}",
            f"Basic {secret}", secret, f"Bearer {secret.upper()}", f"Bearer {secret}\0", f"Bearer {secret},{secret}",
            "Bearer " + "x" * 9000)


HEADERS = (
    [("X", "y" * 9000)], [("X", "y" * 70000)], [(f"X-{i}", "y") for i in range(300)], [("X", "a\r\n folded")], [("X", "a\0b")],
    [("X", "\x80\xff")], [("", "x")], [("No colon", None)], [("Bad name ", "x")], [("Host", "y")], [("Host", "")],
    [("X-Request-ID", "a b")], [("X-Request-ID", "é" * 200)], [("X-Request-ID", "good-1")], [("Authorization", "Bearer x")],
    [("Expect", "100-continue")], [("Expect", "x")], [("Range", "bytes=0-1")], [("If-None-Match", "*")], [("If-Modified-Since", "x")],
    [("Content-Range", "bytes 0-4/5")], [("Content-Range", "bytes 1-4/5")], [("Content-Digest", "sha-256=:AAAA:")], [("Repr-Digest", "sha-256=:" + "A" * 44)],
    [("Range", "bytes=-99999999999999999999")], [("Range", "bytes=9-1"), ("If-Range", '"x"')], [("If-Match", 'W/"x", "'), ("Range", "bytes=0-0,1-")],
    [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings")], [("Accept-Encoding", "gzip")], [("Cookie", "a=b; " * 2000)],
    [("Content-Type", "multipart/form-data; boundary=x")], [("Content-Type", "")], [("Connection", "close")],
    [("Connection", "keep-alive")], [("Connection", "x, close")], [("Keep-Alive", "9")], [("Last-Event-ID", "550e8400-1-1")],
    [("Last-Event-ID", "x" * 500)], [("Last-Event-ID", "\0")], [("Proxy", "x")], [("HTTP_PROXY", "x")], [("Content-Length_", "1")],
    [("Transfer_Encoding", "chunked")], [("X-Accel-Redirect", "/run")], [("X-Forwarded-For", "::1")],
    [("Prefer", "handling=strict")], [("Prefer", "x; handling=\"")], [("Content-Encoding", "gzip")], [("Content-Encoding", "identity")], [("Origin", "https://a.example")], [("Origin", "null")],
    [("Origin", "https://a.example"), ("Access-Control-Request-Method", "POST")],
)


def wrong_lengths(rng, length):
    """Header lines that frame a body of `length` bytes, and do not, or only just."""
    def content(*lengths):
        return [("Content-Length", str(length)) for length in lengths]

    def transfer(*encodings):
        return [("Transfer-Encoding", encoding) for encoding in encodings]

    return rng.choice((
        [], content(length + rng.randrange(1, 100)), content(max(0, length - rng.randrange(1, 10))), content(-1), content(1 << 63),
        content(300000000), content(f"+{length}"), content(f"{length}, {length}"), content(length, length), content("0x10"), content(""),
        content("1e3"), content(length) + transfer("chunked"), transfer("gzip, chunked"), transfer("identity"),
        transfer("chunked", "chunked"), transfer("Chunked "), transfer("\x0bchunked"),
    ))


def chunked(rng, body, broken):
    """`body` in chunks, of which one is not framed as it should be where `broken`. The bytes of the body stay as they are."""
    pieces, at = [], 0
    while at < len(body):
        data = body[at:at + rng.randrange(1, 200)]
        pieces += [f"{len(data):x}{rng.choice(('', '', ';x=y'))}\r\n".encode(), data + b"\r\n"]
        at += len(data)
    pieces.append(rng.choice((b"0\r\n\r\n", b"000\r\n\r\n", b"0\r\nTrailer: x\r\n\r\n")))
    if broken:
        at = rng.randrange(0, len(pieces), 2)  # the line before a chunk, or after them all
        pieces[at] = rng.choice((b"x\r\n", b"-1\r\n\r\n", b"ffffffffffffffff\r\n", b"1" * 40 + b"\r\n", b"\r\n", b"5\r\nab", b"1\nx\n", b"",
                                 b"0\r\n", mutate_bytes(rng, pieces[at])))
    return b"".join(pieces)


GARBAGE = (
    b"", b"\r\n" * 50, b"\0" * 100, b"x" * 100000, b"GET " + b"/" * 40000, b"\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /health\r\n", b"GET /health HTTP/0.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 30, b"SSH-2.0-x\r\n",
    b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n", b"\x01\x01\x00\x01\x00\x08\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100,  # TLS
)


# ---- one request ----


class Request:
    """A request that is right, until one of the wrong_...() has been at it."""

    def __init__(self, rng, world):
        self.path = rng.choice(list(ENDPOINTS))
        self.method, self.version = ENDPOINTS[self.path], "HTTP/1.1"
        if self.path == "/files":
            self.method = rng.choice(("GET", "HEAD", "PUT", "PUT", "DELETE"))
        elif self.path == "/uploads":
            self.method = rng.choice(UPLOADS)
        self.target = self.right_target = self.path + query_of(rng, world, self.path)
        if self.path == "/uploads" and self.method != "POST":
            self.target = self.right_target = f"/uploads/{world.upload(rng)}"
        self.token = rng.random() < 0.85
        self.fields = fields_of(rng, world, self.path) if self.method == "POST" and self.path != "/uploads" else {}
        if not self.token and "cmd" in self.fields:
            self.fields["cmd"] = json.dumps(world.canary_command)
        elif not self.token and "content" in self.fields:
            self.fields["path"] = json.dumps(world.canary)
        self.body = self.right_body = body_of(self.fields) if self.method == "POST" else rng.randbytes(rng.randrange(3000)) if self.method == "PUT" else b""
        if self.path == "/uploads":
            self.body = self.right_body = rng.randbytes(rng.choice((0, 1, 5, 10, 3000))) if self.method in ("POST", "PATCH") else b""
        self.own_headers = tus_headers(rng, world, self.method, self.body) if self.path == "/uploads" else []
        self.more_headers = []
        self.framing = "chunks" if self.body and rng.random() < 0.1 else "length"
        self.line_is_spoilt = False

    def wrong_nothing(self, rng):
        pass

    def wrong_fields(self, rng):
        for _ in range(rng.randrange(1, 4)):
            self.fields = mutate_fields(rng, self.fields)
        self.body = body_of(self.fields)

    def wrong_bytes(self, rng):
        self.body = mutate_bytes(rng, self.body)

    def wrong_body(self, rng):
        self.body = rng.choice((b"", b"x", b"GET /list_processes HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 1000, rng.randbytes(100),
                                b" " * 200000 + self.body))

    def wrong_target(self, rng):
        self.target = mutate_target(rng, self.target)

    def wrong_method(self, rng):
        self.method = rng.choice(METHODS)

    def wrong_headers(self, rng):
        self.more_headers = rng.choice(HEADERS)

    def wrong_length(self, rng):
        self.framing = wrong_lengths(rng, len(self.body))

    def wrong_chunks(self, rng):
        self.framing = "wrong chunks"

    def wrong_line(self, rng):
        self.version = rng.choice(("HTTP/1.0", "HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "HTTP/1.1 x", "HTP/1.1", "", "HTTP/1."))
        self.line_is_spoilt = rng.random() < 0.5

    def frame(self, rng):
        """The header lines that tell the length of the body, and the body as it is sent."""
        if isinstance(self.framing, list):
            return self.framing, self.body
        if self.framing != "length":
            return [("Transfer-Encoding", "chunked")], chunked(rng, self.body, self.framing == "wrong chunks")
        return [("Content-Length", str(len(self.body)))] if self.body or self.method == "POST" else [], self.body

    def stay_at_home(self):
        """What changes a file by its target does it below the directory of the fuzzer: the target and its method stay as they are."""
        changes = self.method not in ("GET", "HEAD", "POST", "OPTIONS") or self.line_is_spoilt
        if self.path == "/files" and (changes or "archive" in self.right_target):  # an archive could be one of all the machine
            self.target, self.line_is_spoilt = self.right_target, False

    def case(self, rng, world):
        self.stay_at_home()
        if not world.harmless(self.body):
            self.body = self.right_body
        authorization = f"Bearer {world.secret}" if self.token else rng.choice(wrong_tokens(world.secret))
        framing, body = self.frame(rng)
        headers = [("Host", "x"), ("Authorization", authorization), *self.own_headers, *self.more_headers, *framing]
        headers = [header for header in headers if header != ("Authorization", None)]
        if rng.random() < 0.1:
            rng.shuffle(headers)
        data = head(self.method, self.target, self.version, headers)
        if self.line_is_spoilt:
            data = mutate_bytes(rng, data[:-4]) + data[-4:]
        framed = self.framing in ("length", "chunks") and self.version in ("HTTP/1.1", "HTTP/1.0") and not self.line_is_spoilt
        # nginx takes the header for the whole answer to HEAD, and ends the connection if the body is still on its way.
        framed = framed and not (self.method == "HEAD" and body)
        token = self.token or (self.line_is_spoilt and world.secret.encode() in data)  # which may have made a right one of a wrong one
        return Case(data + body, [self.method], token, framed, self.path in WAITING)


WRONGS = {Request.wrong_nothing: 4, Request.wrong_fields: 6, Request.wrong_bytes: 4, Request.wrong_target: 2, Request.wrong_method: 1,
          Request.wrong_headers: 3, Request.wrong_length: 2, Request.wrong_chunks: 2, Request.wrong_body: 1, Request.wrong_line: 1}


def head(method, target, version, headers):
    lines = [f"{method} {target} {version}"] + [name if value is None else f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n"


def make_request(rng, world):
    """A case of one request."""
    request = Request(rng, world)
    rng.choices(list(WRONGS), WRONGS.values())[0](request, rng)
    return request.case(rng, world)


# ---- cases ----


@dataclasses.dataclass
class Case:
    """What is said on one connection."""

    data: bytes
    methods: list  # of the requests in it, as far as they are known
    token: bool  # whether all of them have it
    framed: bool  # the server knows where they end: it must answer each
    waits: bool  # an answer may rightly take long
    manner: str = "plain"


MANNERS = ("plain", "pieces", "close", "reset", "half", "half and reset", "shut", "peek")


def make_case(seed, number, world):
    rng = random.Random(f"{seed}/{number}")
    if rng.random() < 0.02:
        data = rng.choice(GARBAGE)
        return Case(data, [], False, False, False, rng.choice(MANNERS))
    cases = [make_request(rng, world)]
    if rng.random() < 0.15:
        cases += [make_request(rng, world) for _ in range(rng.randrange(1, 4))]
        # Who has no token must not get anything by standing next to one who has.
        cases = [case for case in cases if case.token == cases[0].token]
    return Case(b"".join(case.data for case in cases), [case.methods[0] for case in cases], cases[0].token,
                all(case.framed for case in cases), any(case.waits for case in cases),
                rng.choices(MANNERS, (70, 10, 4, 4, 4, 4, 2, 2))[0])
