"""Programs of others behind ports: npm's ws, an event stream, Python's web server, another nginx, and PostgreSQL behind the TCP proxy."""

import gzip
import hashlib
import http.server
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess

import pytest

from node_programs import NodeProgram, npm_packages
from sandbox import BIG_TIMEOUT, TEST_USER, Port, make_directory, wait_until
from test_port_http import Application, ask
from test_share_port import cookie_of, share

pytestmark = pytest.mark.host
WS, EVENT_SOURCE = "ws@8.23.0", "eventsource@5.1.5"


@pytest.fixture
def port():
    port = Port()
    yield port.number
    port.free()


def start(server, command, port, **fields):
    """A program that listens when this is over; the id of its process."""
    started = server.start(shlex.join(command), wait_port=port, wait_timeout_ms=30000, **fields)
    assert started["listening"], server.get(f"/process_logs_streaming?follow=0&id={started['id']}").text
    return started["id"]


# ---- WebSockets ----


@pytest.fixture(scope="module")
def modules():
    with npm_packages(WS, EVENT_SOURCE) as directory:
        shutil.copy(pathlib.Path(__file__).with_name("web_socket_echo.js"), directory)  # where every user may read it
        yield directory


def ways(server, port):
    """How a client gets to a port: (URL, headers) by path and token, by host and token, by host and the cookie of a link."""
    address, host = f"ws://{server.host}:{server.port}", f"{port}.localhost:{server.port}"
    shared = share(server, port)
    token = {"Authorization": f"Bearer {server.secret}"}
    return {
        "path": (f"{address}/port/{port}/chat%2F1?a=b", token),
        "host": (f"{address}/chat%2F1?a=b", {"Host": host, **token}),
        "cookie": (f"{address}/chat%2F1?a=b", {"Host": host, "Cookie": cookie_of(server, shared), "Origin": f"http://{host}"}),
    }


@pytest.mark.parametrize("way", ["path", "host", "cookie"])
def test_web_sockets(server, modules, port, way):
    """Texts, many bytes, pings, a protocol and compression, both ways, through a reload of nginx, until one of both ends it."""
    job = start(server, ["node", f"{modules}/web_socket_echo.js", str(port)], port)
    url, headers = ways(server, port)[way]
    ended = (event.data["data"] for event in server.logs(job))
    with NodeProgram(modules, "web_socket_client.js", url, json.dumps(headers), "chat") as client:
        assert client.hear() == {"open": {"protocol": "chat", "extensions": "permessage-deflate"}}
        asked = json.loads(client.hear()["text"])
        assert asked["url"] == "/chat%2F1?a=b" and asked["headers"]["host"] == f"localhost:{port}"
        assert server.secret not in str(asked) and "cookie" not in asked["headers"]
        for _ in range(2):
            for message in ({"text": "ünïcode"}, {"text": ""}, {"bytes": 0}, {"bytes": 5 << 20}):
                client.say(message)
                assert client.hear() == (message if "text" in message else {**message, "whole": True})
            client.say({"ping": "one"})
            assert client.hear() == {"pong": "one"}
            server.reload_nginx()
        client.say({"close": [4000, "enough"]})
        assert client.hear() == {"close": [4000, "enough"]} and next(ended) == "closed 4000 enough"
    with NodeProgram(modules, "web_socket_client.js", url, json.dumps(headers)) as client:
        client.say({"text": "close"}) if "open" in client.hear() else None
        assert client.hear_until(lambda heard: "close" in heard)[-1] == {"close": [4001, "as you said"]}
    without = {name: value for name, value in headers.items() if name == "Host"}
    with NodeProgram(modules, "web_socket_client.js", url, json.dumps(without)) as client:
        assert client.hear() == {"status": 401}


# ---- event streams ----


class Ticks(http.server.BaseHTTPRequestHandler):
    """Three events behind the last one that the client has, and the end."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        last = int(self.headers.get("Last-Event-ID", 0))
        for number in range(last + 1, last + 4):
            self.wfile.write(b"retry: 50\nid: %d\nevent: tick\ndata: %d\n\n" % (number, number))
            self.wfile.flush()

    def log_message(self, *_):
        pass


def test_an_event_source(server, modules, port):
    """It comes back with its last id, to an application that was away meanwhile, and is never told an error of ours."""
    url = f"{server.url}/port/{port}/"
    with NodeProgram(modules, "event_source.js", url, json.dumps({"Authorization": f"Bearer {server.secret}"}), "tick") as client:
        heard = []
        for _ in range(2):
            with Application("127.0.0.1", port, Ticks):
                last = 6 + sum("event" in what for what in heard)
                heard += client.hear_until(lambda what, last=last: what.get("data") == last)
    ticks = [what["data"] for what in heard if "event" in what]
    assert ticks == list(range(1, len(ticks) + 1)) and len(ticks) >= 12
    assert {json.dumps(what) for what in heard if "error" in what} == {'{"error": null, "closed": false}'}


# ---- web servers ----


def test_pythons_web_server(server, tmp_path, port):
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b/é.txt").write_text("content")
    start(server, ["python3", "-m", "http.server", str(port)], port, cwd=str(tmp_path))
    base = f"/port/{port}"
    status, headers, body = ask(server, "GET", base + "/")
    assert status == 200 and b'href="a%20b/"' in body
    assert headers["Content-Type"].startswith("text/html")
    status, headers, _ = ask(server, "GET", base + "/a%20b?x=1")
    assert (status, headers["Location"]) == (301, f"{base}/a%20b/?x=1")
    assert ask(server, "GET", base + "/a%20b/%C3%A9.txt")[2] == b"content"
    status, headers, body = ask(server, "GET", base + "/none")
    assert status == 404 and b"<title>Error response</title>" in body and "X-Sandbox-Error" not in headers
    assert ask(server, "PUT", base + "/x", [("Content-Length", "1")], b"x")[0] == 501


NGINX = """
daemon off;
pid @DIRECTORY@/pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path @DIRECTORY@/body;
    proxy_temp_path @DIRECTORY@/proxy;
    fastcgi_temp_path @DIRECTORY@/fastcgi;
    uwsgi_temp_path @DIRECTORY@/uwsgi;
    scgi_temp_path @DIRECTORY@/scgi;
    server {
        listen 127.0.0.1:@PORT@;
        root @DIRECTORY@/root;
        client_max_body_size 1k;
        gzip on;
        gzip_types text/plain;
        location = /away { return 302 https://elsewhere.example/; }
        location = /accel { add_header X-Accel-Redirect /health always; return 200 mine; }
    }
}
"""


def test_another_nginx(server, open_directory, port):
    root = open_directory / "root"
    (root / "directory").mkdir(parents=True)
    large = os.urandom(1 << 20) * 20
    (root / "large").write_bytes(large)
    (root / "text.txt").write_text("text " * 1000)
    os.chmod(open_directory, 0o777)  # where it runs as another user
    (open_directory / "conf").write_text(NGINX.replace("@DIRECTORY@", str(open_directory)).replace("@PORT@", str(port)))
    start(server, ["nginx", "-c", str(open_directory / "conf"), "-e", "stderr"], port)
    base = f"/port/{port}"
    status, headers, body = ask(server, "GET", base + "/large")
    assert status == 200 and hashlib.sha256(body).digest() == hashlib.sha256(large).digest()
    status, headers, body = ask(server, "GET", base + "/large", [("Range", "bytes=5-9, 15-19"), ("If-Range", headers["ETag"])])
    assert status == 206 and headers["Content-Type"].startswith("multipart/byteranges") and large[15:20] in body
    assert ask(server, "GET", base + "/large", [("If-None-Match", ask(server, "HEAD", base + "/large")[1]["ETag"])])[0] == 304
    status, headers, body = ask(server, "GET", base + "/text.txt", [("Accept-Encoding", "gzip")])
    assert headers["Content-Encoding"] == "gzip" and gzip.decompress(body) == b"text " * 1000
    assert ask(server, "GET", base + "/directory?a=b")[1]["Location"] == f"{base}/directory/?a=b"
    assert ask(server, "GET", base + "/away")[1]["Location"] == "https://elsewhere.example/"
    assert ask(server, "GET", base + "/accel")[2] == b"mine"
    for headers, body, status in (([("Content-Length", "2000")], b"x" * 2000, 413), ([("Content-Length", "1")], b"x", 405)):
        answer = ask(server, "POST", base + "/text.txt", headers, body)
        assert answer[0] == status and b"<hr><center>nginx" in answer[2] and "X-Sandbox-Error" not in answer[1]


# ---- PostgreSQL ----


def newest_postgresql():
    """The directory of its programs, of which Debian has one for each version; None without any."""
    return max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parts[4]), default=None)


POSTGRESQL = newest_postgresql()


class Database:
    """PostgreSQL as a command of the sandbox, which clients reach by PROXY_PORT alone."""

    def __init__(self, server, directory, port):
        self.server, self.port = server, port
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        script = f"cd {directory} && {POSTGRESQL}/initdb -D data -A trust -U tester --no-sync >&2 && exec {POSTGRESQL}/postgres -D data {options}"
        self.job = start(server, ["sh", "-c", script], port)
        # It listens before it lets anybody in.
        assert server.post("/bind_port", port=str(port)).status_code == 200
        wait_until(lambda: subprocess.run(self.psql("SELECT 1"), capture_output=True, check=False).returncode == 0, "the database")

    def client(self, program, *arguments):
        address = f"host={self.server.proxy_host} port={self.server.proxy_port} user=tester dbname=postgres sslmode=disable"
        return [str(POSTGRESQL / program), *arguments, address]

    def psql(self, *commands):
        return self.client("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *(word for command in commands for word in ("-c", command)))

    def ask(self, *commands, **options):
        return subprocess.run(self.psql(*commands), capture_output=True, check=True, timeout=BIG_TIMEOUT, **options).stdout


@pytest.fixture
def database(make_server, port):
    if POSTGRESQL is None or not (POSTGRESQL / "initdb").exists():
        pytest.skip("needs postgresql")
    user = TEST_USER or ("nobody" if os.geteuid() == 0 else None)  # it does not run as root
    server = make_server({"SANDBOX_USER": user, "PATH": "/usr/bin:/bin"} if user else {})
    directory = make_directory(user)
    try:
        yield Database(server, directory, port)
    finally:
        subprocess.run(["rm", "-rf", directory], check=False)


def test_postgresql_through_a_bound_port(database):
    """Queries, a copy in and out, many connections at once, a query that is cancelled (by a second connection), and the end of the binding."""
    assert database.ask("SELECT current_user, inet_server_port()") == f"tester|{database.port}\n".encode()
    rows = b"".join(b"%d\t%s\n" % (number, b"x" * 100) for number in range(100_000))
    database.ask("CREATE TABLE kept (number int, filler text)")
    database.ask("COPY kept FROM STDIN", input=rows)
    assert database.ask("COPY (SELECT * FROM kept ORDER BY number) TO STDOUT") == rows
    bench = ["-n", "-c", "8", "-j", "2", "-t", "25", "-f", "-"]
    done = subprocess.run(database.client("pgbench", *bench), input=b"SELECT count(*) FROM kept WHERE number < 100;", capture_output=True, check=False)
    assert done.returncode == 0 and b"processed: 200/200" in done.stdout, done.stderr

    asks = subprocess.Popen(database.psql("SELECT pg_sleep(86400)"), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(86400)'"
    wait_until(lambda: database.ask(sleeping) == b"1\n", "the query")
    asks.send_signal(signal.SIGINT)
    assert b"canceling statement due to user request" in asks.communicate(timeout=BIG_TIMEOUT)[1] and asks.returncode != 0

    database.server.post("/unbind_port")
    assert subprocess.run(database.psql("SELECT 1"), capture_output=True, check=False).returncode == 2
