"""The JavaScript of docs/terminals.md, run as it stands by node with npm's ws: a page's way to a terminal."""

import json
import re

import pytest

from node_programs import NodeProgram, npm_packages
from sandbox import REPOSITORY
from terminals import Terminal

pytestmark = pytest.mark.host
DOCUMENT = REPOSITORY / "docs/terminals.md"

# What stands around the examples: a page has WebSocket, and `term` is one of xterm.js.
AROUND = """
const WebSocket = require("ws");
const readline = require("readline");
const [api, token, id] = process.argv.slice(2);
const say = what => console.log(JSON.stringify(what));
const listeners = {};
const term = {
    write: (data, done) => { if (data.length) say({shown: Buffer.from(data).toString()}); if (done) { say({live: true}); done(); } },
    resize: (cols, rows) => say({cols, rows}),
    onData: listener => { listeners.data = listener; },
    onResize: listener => { listeners.resize = listener; },
};
(async () => {
EXAMPLES
socket.onclose = ({code}) => { say({closed: code}); process.exit(); };
readline.createInterface({input: process.stdin}).on("line", line => {
    const {type, resize} = JSON.parse(line);
    if (type !== undefined) listeners.data(type); else listeners.resize(resize);
});
})();
"""


@pytest.fixture(scope="module")
def modules():
    with npm_packages("ws@8.23.0") as directory:
        yield directory


def test_the_examples(sandbox, modules, tmp_path):
    examples = re.findall(r"^```js\n(.*?)^```$", DOCUMENT.read_text(), re.M | re.S)
    assert len(examples) == 2
    script = tmp_path / "page.js"
    script.write_text(AROUND.replace("EXAMPLES", "\n".join(examples)))
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
