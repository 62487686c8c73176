"""vite's development server behind a port: a page in a browser changes as its files do, by a shared link, without the token."""

import json

import pytest

from node_programs import npm_packages
from sandbox import TIMEOUT
from test_cors_browser import CHROMIUM, browser
from test_port_programs import port, start  # noqa: F401
from test_share_port import share

VITE = "vite@8.4.0"
pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]

# `loaded` tells one page from the next. What the page finds comes back to vite, which writes it to its log.
FILES = {
    "index.html": '<!doctype html><title>hot</title><body><p id="text"></p><script type="module" src="/main.js"></script>',
    "message.js": 'export const text = "one";',
    "style.css": "body { color: rgb(1, 1, 1); }",
    "main.js": """
        import { text } from "./message.js";
        import "./style.css";
        const report = (what) => fetch("/found", {method: "POST", body: JSON.stringify({...what, loaded: performance.timeOrigin})});
        const show = (text) => {
            document.querySelector("#text").textContent = text;
            report({text});
        };
        import.meta.hot.accept("./message.js", (module) => show(module.text));
        // The first text is reported when the WebSocket has carried something both ways.
        import.meta.hot.on("welcome", () => show(text));
        import.meta.hot.send("greeting", {});
        import.meta.hot.on("vite:afterUpdate", ({updates}) => {
            if (updates.some((update) => update.path === "/style.css")) report({color: getComputedStyle(document.body).color});
        });
    """,
    "vite.config.mjs": """
        const found = (request, response) => {
            let body = "";
            request.on("data", (piece) => body += piece);
            request.on("end", () => {
                console.log("found " + JSON.stringify({...JSON.parse(body), seen: request.headers}));
                response.end();
            });
        };
        const configureServer = (server) => {
            server.middlewares.use("/found", found);
            server.ws.on("greeting", (_, client) => client.send("welcome", {}));
        };
        export default {plugins: [{name: "found", configureServer}]};
    """,
}


@pytest.fixture(scope="module")
def modules():
    with npm_packages(VITE) as directory:
        yield directory


class Preview:
    """A directory with the files, and vite, started as a client would."""

    def __init__(self, server, modules, directory, port):
        self.server, self.directory, self.port = server, directory, port
        self.command = ["node", f"{modules}/vite/bin/vite.js", "--port", str(port), "--strictPort"]
        for name, content in FILES.items():
            self.write(name, content)
        self.start()

    def start(self):
        self.job = start(self.server, self.command, self.port, cwd=str(self.directory))
        self.log = iter(self.server.logs(self.job, timeout=TIMEOUT))

    def stop(self):
        self.server.kill(self.job)
        self.server.ended(self.job)

    def write(self, name, content):
        assert self.server.post("/write_file", path=str(self.directory / name), content=content).status_code == 200

    def found(self, name):
        """What the page finds next of that name, and of which page; and what vite has read with it."""
        for event in self.log:
            line = event.data.get("data", "")
            if line.startswith("found ") and name in (found := json.loads(line[6:])):
                return found[name], found["loaded"], found["seen"]
        raise AssertionError("vite has ended")


def test_hot_reload(make_server, modules, tmp_path, port):
    server = make_server({"SANDBOX_MAX_FAILED_AUTH": "0"})
    preview = Preview(server, modules, tmp_path, port)
    shared = share(server, port)
    with browser(f"http://{shared['host']}{shared['path']}"):
        text, page, seen = preview.found("text")
        assert text == "one" and seen["host"] == f"localhost:{port}"
        assert server.secret not in str(seen) and "sandbox-grant" not in str(seen)

        for step in ("two", "three"):
            preview.write("message.js", f'export const text = "{step}";')
            assert preview.found("text")[:2] == (step, page)
            preview.write("style.css", f"body {{ color: rgb({len(step)}, 2, 3); }}")
            assert preview.found("color")[:2] == (f"rgb({len(step)}, 2, 3)", page)
            server.reload_nginx()

        # What is no hot change loads the page anew, by the cookie; and so does a vite that comes back.
        preview.write("main.js", FILES["main.js"] + "\n// changed")
        text, second, _ = preview.found("text")
        assert (text, second > page) == ("three", True)
        preview.stop()
        preview.write("message.js", 'export const text = "four";')
        preview.start()
        text, third, _ = preview.found("text")
        assert (text, third > second) == ("four", True)
