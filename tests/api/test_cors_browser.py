"""
A web page in a browser that calls the API: every endpoint of the table, from an origin that SANDBOX_CORS_ORIGINS names, and from
one that it does not. The browser is Debian's Chromium, without a driver: the page sends what it finds to its own server.
"""

import contextlib
import http.server
import json
import queue
import re
import shutil
import tempfile
import threading

import pytest

from sandbox import BIG_TIMEOUT, Launch, listed_endpoints

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run",
    "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
    "--disable-extensions", "--disable-sync", "--no-proxy-server",
)

# Each call gives what it has found; `api` throws where the browser lets the page have no answer. `expect` is for what is another's.
PAGE = """<!doctype html>
<script>
"use strict";
const api = async (method, path, body, more = {}) => {
    const headers = {"Authorization": "Bearer " + config.secret, ...more};
    const options = {method, headers, cache: "no-store"};
    if (body !== undefined) {
        options.body = JSON.stringify(body);
        headers["Content-Type"] = "application/json";
    }
    return fetch(config.api + path, options);
};
const expect = (condition, what) => { if (!condition) throw new Error("expected: " + what); };
const json = async (answer, status = 200) => {
    const text = await answer.text();
    expect(answer.status === status, status + ", not " + answer.status + " " + text);
    expect(answer.headers.get("X-Request-ID"), "a readable X-Request-ID");
    return JSON.parse(text);
};
const post = async (path, body, status) => json(await api("POST", path, body), status);

// The data of all events of a stream, piece by piece, as fetch-event-source reads it.
const events = async (answer) => {
    expect(answer.status === 200, "200, not " + answer.status);
    expect(answer.headers.get("Content-Type") === "text/event-stream; charset=utf-8", "an event stream");
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (let piece; !(piece = await reader.read()).done;) text += piece.value;
    const field = (block, name) => (block.split("\\n").find((line) => line.startsWith(name + ": ")) || "").slice(name.length + 2);
    return text.split("\\n\\n").filter((block) => /^data: /m.test(block))
        .map((block) => ({event: field(block, "event"), id: field(block, "id"), data: JSON.parse(field(block, "data"))}));
};
const file = config.directory + "/päge";
let job = {id: "none"};

const calls = {
    "/health": async () => {
        const open = await (await fetch(config.api + "/health")).json();
        const full = await json(await api("GET", "/health?full=1"));
        expect(open.status === "ok" && full.daemons, "both healths");
    },
    "/metrics": async () => {
        const answer = await api("GET", "/metrics");
        expect(answer.status === 200 && (await answer.text()).includes("nginx_sandbox_up"), "metrics");
    },
    "/run": async () => {
        const answer = await post("/run", {cmd: "echo $NAME; exit 3", env: {NAME: "ünïcode"}});
        expect(answer.stdout === "ünïcode\\n" && answer.code === 3, "the output");
        expect((await post("/run", {}, 400)).error, "a readable 400");
    },
    "/run_streaming": async () => {
        const found = await events(await api("POST", "/run_streaming", {cmd: "echo one; echo zwö"}));
        expect(found.map((event) => event.event).join() === "output,output,complete", JSON.stringify(found));
        expect(found[1].data.data === "zwö" && found[2].data.code === 0, JSON.stringify(found));
    },
    "/create_ticket": async () => expect((await post("/create_ticket", {path: "/tcp/3000"})).protocol.startsWith("nginx-sandbox.ticket."), "a ticket"),
    "/attach": async () => expect((await json(await api("GET", "/attach?id=none"), 426)).error_code === "invalid_request", "a readable 426"),
    "/tcp": async () => expect((await json(await api("GET", "/tcp/3000"), 426)).error_code === "invalid_request", "a readable 426"),
    "/list_runs": async () => {
        const runs = (await json(await api("GET", "/list_runs"))).runs;
        expect(runs.length === 2 && runs[0].exit_code === 3 && runs[1].endpoint === "/run_streaming", JSON.stringify(runs));
    },
    "/kill_run": async () => expect((await post("/kill_run", {id: "x"}, 404)).error_code === "not_found", "a readable 404"),
    "/make_dir": async () => expect((await post("/make_dir", {path: config.directory + "/made"})).success, "success"),
    "/write_file": async () => expect((await post("/write_file", {path: file, content: "from a page ✓"})).success, "success"),
    "/read_file": async () => expect((await post("/read_file", {path: file})).content === "from a page ✓", "the content"),
    "/edit_file": async () => {
        expect((await post("/edit_file", {path: file, edits: [{old_str: "✓", new_str: "✗"}]})).edits[0].count === 1, "an edit");
        expect((await post("/edit_file", {path: file, edits: [{old_str: "✓"}]}, 409)).count === 0, "a readable 409");
        expect((await post("/edit_file", {path: file, edits: [{old_str: "✗", new_str: "✓"}]})).size_bytes === 15, "the other way");
    },
    "/share_file": async () => {
        const link = (await post("/share_file", {path: file})).path;
        expect(await (await fetch(config.api + link)).text() === "from a page ✓", "what a link leads to");
        const put = (await post("/share_file", {path: config.directory + "/shared", method: "PUT"})).path;
        expect((await fetch(config.api + put, {method: "PUT", body: new Blob(["a blob"])})).status === 201, "a blob by a link");
        const gone = (await post("/share_file", {path: config.directory + "/shared", method: "DELETE"})).path;
        expect((await fetch(config.api + gone, {method: "DELETE"})).status === 204, "no file more");
        const changed = await fetch(config.api + link + "x");
        expect(changed.status === 401 && (await changed.json()).error_code === "unauthorized", "a readable 401");
    },
    "/files": async () => {
        const answer = await api("GET", "/files" + encodeURI(file), undefined, {"Range": "bytes=0-3"});
        expect(answer.status === 206 && (await answer.text()) === "from", "the first bytes");
        expect(answer.headers.get("ETag") && answer.headers.get("Content-Range") === "bytes 0-3/15", "readable headers of a range");
        const headers = {"Authorization": "Bearer " + config.secret, "If-None-Match": "*"};
        const options = {method: "PUT", headers, body: new Blob(["of ", "a blob", new Uint8Array(5 << 20)])};
        const target = config.api + "/files" + encodeURI(config.directory) + "/blob?mode=0600";
        expect((await fetch(target, options)).status === 201 && (await fetch(target, options)).status === 412, "one blob");
        const blob = await (await api("GET", "/files" + encodeURI(config.directory) + "/blob")).blob();
        expect(blob.size === 9 + (5 << 20) && await blob.slice(0, 9).text() === "of a blob", "the blob");
        expect((await fetch(target.split("?")[0], {method: "DELETE", headers: {"Authorization": headers.Authorization}})).status === 204, "no blob");
    },
    "/uploads": async () => {
        const headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": "path " + btoa(config.directory + "/uploaded")};
        const begun = await api("POST", "/uploads", undefined, headers);
        expect(begun.status === 201 && begun.headers.get("Tus-Resumable") === "1.0.0", "a readable upload");
        const upload = new URL(begun.headers.get("Location"), config.api + "/uploads").pathname;
        const bytes = {...headers, "Content-Type": "application/offset+octet-stream", "Authorization": "Bearer " + config.secret};
        const piece = (offset, text) => fetch(config.api + upload, {method: "PATCH", headers: {...bytes, "Upload-Offset": offset}, body: new Blob([text])});
        expect((await piece("0", "a bl")).headers.get("Upload-Offset") === "4", "a readable offset");
        expect((await piece("5", "ob")).status === 409, "a readable conflict");
        expect((await api("HEAD", upload, undefined, headers)).headers.get("Upload-Offset") === "4", "a readable state");
        expect((await piece("4", "ob ✓")).status === 204, "all of it");
        expect(await (await api("GET", "/files" + encodeURI(config.directory) + "/uploaded")).text() === "a blob ✓", "the file");
        expect((await api("DELETE", "/files" + encodeURI(config.directory) + "/uploaded")).status === 204, "no file");
    },
    "/find_files": async () => expect((await post("/find_files", {path: config.directory})).entries.map((entry) => entry.name).join() === "made,päge", "both"),
    "/search_files": async () => {
        const found = (await post("/search_files", {path: config.directory, pattern: "page (.)"})).matches;
        expect(found.length === 1 && found[0].column === 8 && found[0].text === "from a page ✓", JSON.stringify(found));
    },
    "/file_changes_streaming": async () => {
        const watched = config.directory + "/watched";
        await post("/make_dir", {path: watched});
        const answer = await api("GET", "/file_changes_streaming?recursive=1&path=" + encodeURIComponent(watched));
        await post("/delete_dir", {path: watched});
        const found = await events(answer);
        expect(found.map((event) => event.event).join() === "removed,complete", JSON.stringify(found));
        const again = await api("GET", "/file_changes_streaming?path=x", undefined, {"Last-Event-ID": found[1].id});
        expect(again.status === 204, "no more");
    },
    "/stat_file": async () => expect((await post("/stat_file", {path: file})).entry.name === "päge", "the name"),
    "/list_dir": async () => expect((await post("/list_dir", {path: config.directory})).entries.join() === "made,päge", "both entries"),
    "/copy_file": async () => expect((await post("/copy_file", {from: file, to: file + "2"})).success, "a copy"),
    "/move_file": async () => expect((await post("/move_file", {from: file + "2", to: file + "3"})).success, "another name"),
    "/set_mode": async () => expect((await post("/set_mode", {path: file + "3", mode: "0600"})).success, "another mode"),
    "/write_files": async () => {
        const results = (await post("/write_files", {files: [{path: file + "3", content: "new"}]})).results;
        expect(results.length === 1 && results[0].success, JSON.stringify(results));
    },
    "/read_files": async () => {
        const results = (await post("/read_files", {paths: [file + "3", file + "2"]})).results;
        expect(results[0].content === "new" && results[1].error_code === "not_found", JSON.stringify(results));
        await post("/delete_file", {path: file + "3"});
    },
    "/delete_file": async () => expect((await post("/delete_file", {path: file})).success, "success"),
    "/delete_dir": async () => expect((await post("/delete_dir", {path: config.directory + "/made"})).success, "success"),
    "/bind_port": async () => expect((await post("/bind_port", {port: "8080"})).success, "success"),
    "/port_status": async () => expect((await json(await api("GET", "/port_status"))).port === "8080", "the port"),
    "/list_ports": async () => expect(Array.isArray((await json(await api("GET", "/list_ports"))).ports), "a list"),
    "/ports_streaming": async () => {
        const reader = (await api("GET", "/ports_streaming")).body.getReader();
        expect(new TextDecoder().decode((await reader.read()).value).includes("event: state"), "the state");
        await reader.cancel();
    },
    "/wait_port": async () => expect((await post("/wait_port", {port: 1, timeout_ms: 0})).listening === false, "nothing listens"),
    "/share_port": async () => {
        const link = await post("/share_port", {port: 8080});
        expect(/^8080\\.localhost:\\d+$/.test(link.host) && link.path.startsWith("/?sandbox-grant="), "a link");
        expect((await post("/share_port", {port: 8080, public: true}, 403)).error_code === "unsupported", "a readable 403");
    },
    "/unshare_port": async () => {
        expect((await post("/unshare_port", {port: 8080})).ended === 1, "the end");
        expect((await post("/unshare_port", {id: "x"}, 404)).error_code === "not_found", "a readable 404");
    },
    "/unbind_port": async () => expect((await post("/unbind_port")).success, "success"),
    "/start_process": async () => { job = await post("/start_process", {cmd: "echo begun; read line; echo $line; exec cat", stdin: true}, 201); },
    "/list_processes": async () => expect((await json(await api("GET", "/list_processes"))).processes.length === 1, "one process"),
    "/get_process": async () => expect((await json(await api("GET", "/get_process?id=" + job.id))).status === "running", "running"),
    "/write_stdin": async () => expect((await post("/write_stdin", {id: job.id, data: "typed\\n", eof: true})).success, "success"),
    "/read_output": async () => expect((await post("/read_output", {id: job.id, until: "typed"})).output === "begun\\ntyped", "its output"),
    "/read_screen": async () => expect((await json(await api("GET", "/read_screen?id=" + job.id), 400)).error_code === "unsupported", "a readable error"),
    "/wait_process": async () => expect((await post("/wait_process", {id: job.id})).status === "completed", "its end"),
    "/process_logs_streaming": async () => {
        const found = await events(await api("GET", "/process_logs_streaming?id=" + job.id));
        expect(found.map((event) => event.data.data || event.data.message).join() === "begun,typed,stream ended", JSON.stringify(found));
        const rest = await events(await api("GET", "/process_logs_streaming?id=" + job.id, undefined, {"Last-Event-ID": found[0].id}));
        expect(rest.map((event) => event.data.data || event.data.message).join() === "typed,stream ended", JSON.stringify(rest));
    },
    "/resize_terminal": async () => {
        const terminal = await post("/start_process", {cmd: "read line", pty: {}}, 201);
        expect((await post("/resize_terminal", {id: terminal.id, cols: 100, rows: 30})).success, "success");
        expect((await post("/resize_terminal", {id: job.id, cols: 100, rows: 30}, 400)).error, "a readable error");
        await post("/kill_process", {id: terminal.id});
        await post("/delete_process", {id: terminal.id});
    },
    "/kill_process": async () => expect((await post("/kill_process", {id: job.id}, 400)).error.includes("not running"), "a readable error"),
    "/delete_process": async () => expect((await post("/delete_process", {id: job.id})).success, "success"),
    "nginx's own errors": async () => {
        const answer = await fetch(config.api + "/run", {method: "POST", headers: {"Authorization": "Bearer wrong"}});
        expect(answer.status === 401 && answer.headers.get("WWW-Authenticate") && (await answer.json()).error, "a readable 401");
        expect((await json(await api("GET", "/none"), 404)).error, "a readable 404");
        expect((await json(await api("POST", "/run", {cmd: "x".repeat(2000)}), 413)).error, "a readable 413");
    },
};

(async () => {
    const found = {};
    for (const [name, call] of Object.entries(calls)) {
        try {
            await call();
            found[name] = "done";
        } catch (error) {
            found[name] = String(error);
        }
    }
    // Without the names of the calls: each path again, alone, as a page sees it that is let through nowhere.
    found.blocked = [];
    for (const [method, path] of config.endpoints) {
        await api(method, path, method === "POST" ? {} : undefined).catch(() => found.blocked.push(path));
    }
    await fetch("/findings", {method: "POST", body: JSON.stringify(found)});
})();
</script>
"""


class PageServer(http.server.ThreadingHTTPServer):
    """The page's own server: it has the page at / and puts what that finds into `findings`."""

    daemon_threads = True

    def __init__(self, page):
        super().__init__(("127.0.0.1", 0), Handler)
        self.page, self.findings = page.encode(), queue.Queue()
        self.origin = f"http://localhost:{self.server_port}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(self.server.page if self.path == "/" else b"")

    def do_POST(self):
        self.server.findings.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(b"")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def browser(address):
    """A browser of its own, headless, in which that page is open."""
    with tempfile.TemporaryDirectory(prefix="nxs-browser-", ignore_cleanup_errors=True) as home:
        launch = Launch({"HOME": home}, prefix=(CHROMIUM, *OPTIONS, f"--user-data-dir={home}/profile"), launcher=address)
        try:
            yield launch
        finally:
            launch.destroy()


def visit(page_server):
    """Opens the page in a browser; what it has found."""
    with browser(page_server.origin + "/") as launch:
        try:
            return page_server.findings.get(timeout=BIG_TIMEOUT)
        except queue.Empty:
            raise AssertionError(f"the page has said nothing\n{launch.output()}") from None


@contextlib.contextmanager
def page_servers(count, config):
    """So many of them, with `config` in their pages; each a different origin."""
    page = PAGE.replace("<script>", "<script>\nconst config = CONFIG;", 1)
    servers = [PageServer("") for _ in range(count)]
    try:
        yield servers, lambda **more: [setattr(server, "page", page.replace("CONFIG", json.dumps({**config, **more}), 1).encode()) for server in servers]
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def test_pages_of_two_origins(make_server, tmp_path):
    """One that is in the list can use every endpoint. One that is not gets no answer of any, and nothing that it asks for is done."""
    table = {endpoint.path: endpoint.method for endpoint in listed_endpoints()}
    called = set(re.findall(r'^    "(/\w+)": async', PAGE, re.M))
    assert called == set(table), "a call in PAGE for each endpoint of the table"
    config = {"directory": str(tmp_path), "endpoints": [(method, path) for path, method in table.items()]}
    with page_servers(2, config) as ((ours, other), configure):
        server = make_server({"SANDBOX_CORS_ORIGINS": ours.origin, "SANDBOX_MAX_BODY": "1k", "SANDBOX_MAX_FAILED_AUTH": "10"})
        configure(api=server.url, secret=server.secret)
        found = visit(ours)
        assert found.pop("blocked") == []
        assert {name: text for name, text in found.items() if text != "done"} == {}
        assert set(found) >= set(table)

        before = server.whole_access_log()
        found = visit(other)
        assert sorted(found.pop("blocked")) == sorted(table)
        assert {name: text for name, text in found.items() if "Failed to fetch" not in text} == {}
        lines = [json.loads(line) for line in server.whole_access_log()[len(before):].splitlines()]
        assert server.get("/list_processes").json() == {"processes": []} and list(tmp_path.iterdir()) == []
        done = {(line["method"], line["uri"], line["status"]) for line in lines if line["method"] != "OPTIONS"}
        assert done <= {("GET", "/health", 200)}, done  # a simple request, which needs no preflight, is sent; its answer is kept from the page
