"""npm's eventsource, in its versions that are in use, on the streams that have no end: what it is told when it comes back by itself."""

import json
import pathlib
import urllib.parse

import pytest

from node_programs import NodeProgram, npm_packages
from test_list_ports import command, said

pytestmark = pytest.mark.host
VERSIONS = ["2.0.2", "4.1.0", "5.1.5"]  # 2 was written for node's http, 3 and later for fetch


@pytest.fixture(scope="module", params=VERSIONS)
def modules(request):
    with npm_packages(f"eventsource@{request.param}") as directory:
        yield directory


def event_source(modules, server, path, *names):
    headers = {"Authorization": f"Bearer {server.secret}"}
    return NodeProgram(modules, "event_source.js", server.url + path, json.dumps(headers), *names)


def changes(modules, server, directory):
    path = "/file_changes_streaming?" + urllib.parse.urlencode({"path": directory, "recursive": 1})
    return event_source(modules, server, path, "created", "changed", "removed", "renamed", "gap", "complete")


def hear_event(client, *names):
    return client.hear_until(lambda heard: heard.get("event") in names)[-1]


@pytest.mark.parametrize("daemon", ["fcgi-app", "nginx"])
def test_changes_behind_the_death_of_a_daemon(server, modules, tmp_path, daemon):
    """It comes back with its last id and is told of a gap; what happens from then on it is told as ever, and nothing twice."""
    with changes(modules, server, tmp_path) as client:
        assert client.hear() == {"open": True}
        for number in range(3):
            path = pathlib.Path(tmp_path, str(number))
            server.post("/write_file", path=str(path), content="x")
            heard = hear_event(client, "created", "gap")
            assert (heard["event"], heard["data"]["path"]) == ("created", str(path)) and heard["id"]
            old = server.kill_daemon(daemon)
            heard = client.hear_until(lambda heard: "event" in heard)
            assert heard[-1]["event"] == "gap" and heard[-1]["data"]["reason"] == "resumed", heard
            server.back(daemon, old)


def test_changes_that_were_never_told(server, modules, tmp_path):
    """Without a last id, because nothing had changed, it cannot say that it was there before: no gap is promised then."""
    with changes(modules, server, tmp_path) as client:
        assert client.hear() == {"open": True}
        server.back("fcgi-app", server.kill_daemon("fcgi-app"))
        assert client.hear_until(lambda heard: heard == {"open": True})
        path = tmp_path / "later"
        server.post("/write_file", path=str(path), content="x")
        assert hear_event(client, "created")["data"]["path"] == str(path)


def test_changes_end(server, modules, tmp_path):
    """With the directory: it asks once more, gets 204, and gives up."""
    directory = tmp_path / "directory"
    directory.mkdir()
    with changes(modules, server, directory) as client:
        assert client.hear() == {"open": True}
        server.post("/delete_dir", path=str(directory))
        heard = client.hear_until(lambda heard: heard.get("closed"))
        assert [what["event"] for what in heard if "event" in what] == ["removed", "complete"], heard
        assert heard[-1] == {"error": 204, "closed": True}, heard


@pytest.mark.parametrize("daemon", ["fcgi-app", "nginx"])
def test_ports_behind_the_death_of_a_daemon(server, modules, daemon):
    """It comes back and is told the state anew, which has what was opened meanwhile."""
    with event_source(modules, server, "/ports_streaming", "state", "opened", "closed") as client:
        assert hear_event(client, "state")
        old = server.kill_daemon(daemon)
        server.back(daemon, old)
        hear_event(client, "state")
        job = server.start(command())["id"]
        port, _ = said(server, job)
        opened = client.hear_until(lambda heard: heard.get("event") == "opened" and heard["data"]["port"] == port)[-1]
        server.kill_daemon(daemon)
        state = hear_event(client, "state")
        row, = [row for row in state["data"]["ports"] if row["port"] == port]
        assert {**row, "since_at": opened["data"]["since_at"]} == opened["data"]  # a new fcgi-app has not seen it before
        server.healthy()
        server.kill(job)
        assert client.hear_until(lambda heard: heard.get("event") == "closed" and heard["data"]["port"] == port)
