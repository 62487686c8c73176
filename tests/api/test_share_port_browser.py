"""
A preview in a browser, by a shared link: Debian's Chromium without a driver, at hosts such as 3000.localhost. The pages send what they
find to their own servers.
"""

import base64
import hashlib
import json
import queue

import pytest

from test_cors_browser import CHROMIUM, Handler, PageServer, visit
from test_port_http import Application
from test_share_port import local, share

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

# The application: its script, an answer of /data and a WebSocket come by the cookie.
APPLICATION = """<!doctype html>
<title>preview</title>
<script src="/script.js"></script>
<script>
"use strict";
const echo = () => new Promise((resolve) => {
    const socket = new WebSocket("ws://" + location.host + "/socket");
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => { resolve(event.data); socket.close(); };
    socket.onerror = () => resolve("error");
});
(async () => {
    const found = {at: location.pathname + location.search, script: window.script, referrer: document.referrer, framed: window !== top, cookie: document.cookie};
    found.data = await (await fetch("/data", {method: "POST", body: "x"})).text();
    found.socket = await echo();
    await fetch("/findings", {method: "POST", body: JSON.stringify(found)});
    const next = new URLSearchParams(location.search).get("next");
    if (next) location = next;
})();
</script>
"""

# A page of another site, with a session of the user's browser: it reports what it can do with the port, and then links to it.
OTHER = """<!doctype html>
<script>
"use strict";
const host = HOST;
const ended = (element, source) => new Promise((resolve) => {
    element.onload = () => resolve("load");
    element.onerror = () => resolve("error");
    element.src = source;
    document.documentElement.append(element);
});
const socket = (path) => new Promise((resolve) => {
    const opened = new WebSocket("ws://" + host + path);
    opened.onopen = () => resolve("open");
    opened.onerror = () => resolve("error");
});
(async () => {
    const found = {};
    found.read = await fetch("http://" + host + "/stolen", {credentials: "include"}).then((answer) => answer.text(), () => "blocked");
    found.posted = await fetch("http://" + host + "/stolen", {method: "POST", mode: "no-cors", credentials: "include"}).then((answer) => answer.type, () => "blocked");
    found.script = await ended(document.createElement("script"), "http://" + host + "/script.js");
    found.image = await ended(document.createElement("img"), "http://" + host + "/stolen.png");
    found.socket = await socket("/socket");
    await ended(document.createElement("iframe"), "http://" + host + "/stolen");
    await fetch("/findings", {method: "POST", body: JSON.stringify(found)});
    location = "http://" + host + "/?linked=1";
})();
</script>
"""

FRAME = """<!doctype html>
<iframe src="LINK"></iframe>
<script>
document.querySelector("iframe").onload = () => setTimeout(() => fetch("/findings", {method: "POST", body: JSON.stringify("loaded")}), WAIT);
</script>
"""


class Preview(Handler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        if self.headers.get("Upgrade") == "websocket":
            self.echo()
        elif self.path == "/script.js":
            self.answer(b"window.script = 'ran';", "text/javascript")
        else:
            self.answer(APPLICATION.encode())

    def do_POST(self):
        self.server.seen.append((self.path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/findings":
            self.server.findings.put(json.loads(body))
        self.answer(b"posted")

    def answer(self, body, kind="text/html; charset=utf-8"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def echo(self):
        """One frame of the client's, and the same one back."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())):
            self.send_header(name, value)
        self.end_headers()
        length = self.rfile.read(2)[1] & 0x7F
        mask = self.rfile.read(4)
        text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.rfile.read(length)))
        self.wfile.write(bytes([0x81, length]) + text)
        self.wfile.flush()
        self.rfile.read(1)
        self.close_connection = True


class Visit:
    """What a browser opens, and the servers to which it reports, in their order."""

    def __init__(self, address, *servers):
        self.origin, self.servers, self.findings = address, servers, self

    def get(self, timeout):
        found = [server.findings.get(timeout=timeout) for server in self.servers]
        return found if len(found) > 1 else found[0]


@pytest.fixture
def preview():
    with Application(handler=Preview) as application:
        application.seen, application.findings = [], queue.Queue()
        yield application


@pytest.fixture
def other():
    server = PageServer("")
    yield server
    server.shutdown()
    server.server_close()


def test_a_shared_preview(make_server, preview, other):
    """It works by the link, and the page of another site can do nothing with it but link to it."""
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "0"})
    shared = share(server, preview.port, path=f"/?next={other.origin}/")
    other.page = OTHER.replace("HOST", json.dumps(shared["host"])).encode()

    first, tried, linked = visit(Visit(f"http://{shared['host']}{shared['path']}#", preview, other, preview))
    assert first == {"at": f"/?next={other.origin}/", "script": "ran", "referrer": "", "framed": False, "cookie": "", "data": "posted", "socket": "hello"}
    assert tried == {"read": "blocked", "posted": "opaque", "script": "error", "image": "error", "socket": "error"}
    assert linked["at"] == "/?linked=1" and linked["script"] == "ran" and linked["socket"] == "hello"
    assert not [path for path, _ in preview.seen if "stolen" in path]
    signature = shared["path"].split(".")[-1]
    assert signature not in str(preview.seen) and "sandbox-grant" not in str(preview.seen)


@pytest.mark.parametrize("allowed", [True, False])
def test_a_frame(make_server, preview, other, allowed):
    """A page of another site shows the preview in a frame if the share names it: by a partitioned cookie."""
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "0"})
    shared = share(server, preview.port, embed_origins=[other.origin if allowed else "https://app.example.org"])
    assert shared["host"] == local(server, preview.port)
    other.page = FRAME.replace("LINK", f"http://{shared['host']}{shared['path']}").replace("WAIT", "2000").encode()
    if allowed:
        found = visit(Visit(other.origin, preview))
        assert found["framed"] and (found["script"], found["data"], found["socket"]) == ("ran", "posted", "hello")
    else:
        assert visit(other) == "loaded"
        assert preview.findings.empty(), "the page in the frame has run"
