"""The access log: one JSON object a line, whatever a client sends."""

import json

import pytest

from sandbox import http_request, wait_until

pytestmark = pytest.mark.host


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_request_is_a_line_of_json(make_server):
    server = make_server()
    log = server.run_dir / "nginx" / "access.log"
    requests = {
        "id-run": http_request("POST", "/run", [("Host", "x"), server.bearer(), ("X-Request-ID", "id-run"), ("Content-Length", "14")], b'{"cmd":"true"}'),
        "id-401": http_request("GET", "/list_processes", [("Host", "x"), ("X-Request-ID", "id-401")]),
        "id-404": http_request("GET", '/a"b\\c%22%0a\xff', [("Host", "x"), server.bearer(), ("X-Request-ID", "id-404")]),
        "id-agent": http_request("GET", "/health", [("Host", "x"), ("User-Agent", b'quote" \\ \xff\x01 {'), ("X-Request-ID", "id-agent")]),
        "id-405": http_request("DELETE", "/run", [("Host", "x"), server.bearer(), ("X-Request-ID", "id-405")]),
    }
    statuses = {}
    for identifier, request in requests.items():
        with server.raw() as raw:
            statuses[identifier] = raw.exchange(request)[0]
    assert list(statuses.values()) == [200, 401, 404, 200, 405]

    def logged():
        texts = [json.dumps(line) for line in lines(log)]
        return all(any(identifier in text for text in texts) for identifier in requests)

    wait_until(logged, "a line for each request")
    for line in lines(log):
        assert isinstance(line, dict)
        for identifier, status in statuses.items():
            if identifier in line.values():
                assert status in line.values() or str(status) in line.values()
    assert server.secret not in log.read_text()


@pytest.mark.parametrize("kind", ["a path", "off"])
def test_its_place_is_a_setting(make_server, tmp_path, kind):
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    path = tmp_path / "requests.log"
    server = make_server({"SANDBOX_ACCESS_LOG": str(path) if kind == "a path" else "off"})
    server.get("/health", headers={"X-Request-ID": "found"})
    if kind == "a path":
        wait_until(lambda: path.exists() and "found" in path.read_text(), "the line")
        assert lines(path)
    assert not (server.run_dir / "nginx" / "access.log").exists() or "found" not in (server.run_dir / "nginx" / "access.log").read_text()
