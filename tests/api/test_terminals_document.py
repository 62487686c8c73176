"""The JavaScript of docs/terminals.md, run as it stands by node with npm's ws: a page's way to a terminal, and a program's."""

import json
import re

import pytest

from node_programs import NodeProgram, npm_packages
from sandbox import REPOSITORY
from terminals import Terminal

pytestmark = pytest.mark.host
DOCUMENT = REPOSITORY / "docs/terminals.md"

# What stands around the examples: a page has WebSocket and window, `term` is one of xterm.js, `fitAddon` knows the window.
AROUND = """
const WebSocket = require("ws");
const readline = require("readline");
const [api, token, id] = process.argv.slice(2);
const url = api.replace(/^http/, "ws");
const say = what => console.log(JSON.stringify(what));
const listeners = {};
const term = {
    write: (data, done) => { if (data.length) say({shown: Buffer.from(data).toString()}); if (done) { say({live: true}); done(); } },
    resize: (cols, rows) => say({cols, rows}),
    onData: listener => { listeners.data = listener; },
};
let size = {cols: 80, rows: 24};
const fitAddon = {proposeDimensions: () => size};
const window = {addEventListener: (name, listener) => { listeners[name] = listener; }};
(async () => {
EXAMPLES
socket.onclose = ({code}) => { say({closed: code}); process.exit(); };
readline.createInterface({input: process.stdin}).on("line", line => {
    const {type, resize} = JSON.parse(line);
    if (type !== undefined) return listeners.data(type);
    size = resize;
    listeners.resize();
});
})();
"""


@pytest.fixture(scope="module")
def modules():
    with npm_packages("ws@8.23.0") as directory:
        yield directory


@pytest.mark.parametrize("opened_by", ["ticket", "token"])
def test_the_examples(sandbox, modules, tmp_path, opened_by):
    by_ticket, by_token, client = re.findall(r"^```js\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    script = tmp_path / "page.js"
    script.write_text(AROUND.replace("EXAMPLES", (by_ticket if opened_by == "ticket" else by_token) + client))
    terminal = Terminal(sandbox, "echo hello; read line; echo got $line; stty size; read line; exit 3")
    terminal.shows(b"hello")
    with NodeProgram(modules, str(script), f"{sandbox.url}", sandbox.secret, terminal.id) as page:
        assert "hello" in json.dumps(page.hear_until(lambda said: "live" in said))
        page.say({"resize": {"cols": 100, "rows": 40}})
        page.hear_until(lambda said: said == {"cols": 100, "rows": 40})
        page.say({"type": "typed\r"})
        shown = ""
        while "40 100" not in shown:
            shown += page.hear().get("shown", "")
        assert "got typed" in shown
        page.say({"type": "\r"})
        assert page.hear_until(lambda said: "closed" in said)[-1] == {"closed": 4000}
