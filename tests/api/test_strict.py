"""Prefer: handling=strict: a member that is not known is refused by its name."""

import json

import pytest

from sandbox import http_request, listed_endpoints

STRICT = {"Prefer": "handling=strict"}
APPLIED = "handling=strict"
# Their bodies are JSON.
CALLS = [endpoint.path for endpoint in listed_endpoints() if endpoint.method == "POST" and endpoint.trait != "RAW"]


@pytest.mark.parametrize("path", CALLS)
def test_every_call_refuses_what_it_does_not_know(sandbox, path):
    answer = sandbox.call("POST", path, {"no_such_member": 1, "comand": None}, headers=STRICT)
    assert answer.status_code == 400 and answer.headers["Preference-Applied"] == APPLIED
    found = answer.json()
    assert found["error"] == "Unknown members: no_such_member, comand" and found["error_code"] == "invalid_request"


def test_nothing_is_done(sandbox, workdir):
    file = f"{workdir}/file"
    for path, fields in (("/run", {"cmd": f"touch {file}", "timout_ms": 1}), ("/write_file", {"path": file, "content": "x" * 1_000_000, "encodng": "x"}),
                         ("/write_file", {"encodng": "x", "path": file, "content": "x" * 1_000_000}),
                         ("/write_files", {"files": [{"path": file}, {"path": file, "contents": "x"}]}), ("/make_dir", {"path": file, "x": {}}),
                         ("/start_process", {"cmd": f"touch {file}", "": 1})):
        answer = sandbox.call("POST", path, fields, headers=STRICT)
        assert answer.status_code == 400 and answer.headers["Preference-Applied"] == APPLIED, path
        assert sandbox.post("/stat_file", path=file).json()["error_code"] == "not_found"


def test_what_is_known_is_done(sandbox, workdir):
    file = f"{workdir}/file"
    answer = sandbox.call("POST", "/run", {"cmd": "echo $A", "env": {"A": "any name"}, "cwd": "/"}, headers=STRICT)
    assert answer.json()["stdout"] == "any name\n" and answer.headers["Preference-Applied"] == APPLIED
    answer = sandbox.call("POST", "/run_streaming", {"cmd": "echo x"}, headers=STRICT)
    assert '"data":"x"' in answer.text and answer.headers["Preference-Applied"] == APPLIED
    answer = sandbox.call("POST", "/write_file", {"path": file, "content": "a" * 1_000_000}, headers=STRICT)
    assert answer.json() == {"success": True} and answer.headers["Preference-Applied"] == APPLIED
    answer = sandbox.call("POST", "/edit_file", {"path": file, "edits": [{"old_str": "a" * 1_000_000, "new_str": "b"}]}, headers=STRICT)
    assert answer.status_code == 200 and answer.headers["Preference-Applied"] == APPLIED
    assert sandbox.call("POST", "/read_file", {"path": file}, headers=STRICT).json()["content"] == "b"


def test_elements(sandbox, workdir):
    file = f"{workdir}/file"
    sandbox.post("/write_file", path=file, content="a")
    answer = sandbox.call("POST", "/write_files", {"files": [{"path": file, "contents": "x", "mode": 1}]}, headers=STRICT)
    assert answer.json()["error"] == "files[0]: Unknown members: contents, mode"
    answer = sandbox.call("POST", "/edit_file", {"path": file, "edits": [{"old_str": "a"}, {"old_str": "a", "newstr": "b"}]}, headers=STRICT)
    assert answer.json()["error"] == "edits[1] has an unknown member: newstr"


def test_without_it_they_are_ignored(sandbox):
    for prefer in (None, "", "handling=lenient", "handling", "handling=", "handling=strictly", "respond-async", "strict", "handling=lenient, handling=strict",
                   'x="handling=strict"', 'x="a\\", handling=strict"', "xhandling=strict", "respond-async; handling=strict"):
        answer = sandbox.call("POST", "/run", {"cmd": "true", "no_such_member": 1}, headers={} if prefer is None else {"Prefer": prefer})
        assert answer.status_code == 200 and "Preference-Applied" not in answer.headers, prefer


def test_its_spellings(sandbox):
    for prefer in ("Handling=STRICT", 'handling="strict"', "handling = strict", "respond-async, handling=strict", "wait=5;x=\"a,b\",handling=strict;y", ", ,handling=strict,"):
        answer = sandbox.call("POST", "/run", {"cmd": "true", "no_such_member": 1}, headers={"Prefer": prefer})
        assert answer.status_code == 400 and answer.headers["Preference-Applied"] == APPLIED, prefer


def test_names_that_are_strange(sandbox):
    body = json.dumps({"cmd": "true", "a\nb": 1, "ü" * 500: 2, "\0": 3}).encode()
    error = sandbox.call("POST", "/run", body, headers=STRICT).json()["error"]
    assert error.startswith("Unknown members: a?b, üüü") and error.endswith("..., ?")
    many = {f"member_{number}": 1 for number in range(10_000)}
    error = sandbox.call("POST", "/run", {"cmd": "true", **many}, headers=STRICT).json()["error"]
    assert error.startswith("Unknown members: member_0, member_1,") and error.endswith(" and others") and len(error) < 512
    # What is wrong otherwise comes first, or beside it.
    assert sandbox.call("POST", "/run", b'{"x":1,', headers=STRICT).json()["error_code"] == "invalid_json"
    assert "cwd must be" in sandbox.call("POST", "/run", b'{"x":1,"cwd":1}', headers=STRICT).json()["error"]


def test_it_is_for_one_request(sandbox):
    body = b'{"cmd":"true","no_such_member":1}'
    with sandbox.raw() as connection:
        for strict, expected in (([("Prefer", "handling=strict")], 400), ([], 200)):
            headers = [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body))), *strict]
            status, answered, _ = connection.exchange(http_request("POST", f"{sandbox.path}/run", headers, body))
            assert (status, answered["Preference-Applied"]) == (expected, APPLIED if strict else None)


def test_a_page_may_send_it(make_server):
    server = make_server({"SANDBOX_CORS_ORIGINS": "https://a.example"})
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "prefer"}
    answer = server.call("OPTIONS", "/run", token=False, headers=headers)
    assert "Prefer" in answer.headers["Access-Control-Allow-Headers"].split(", ")
    answer = server.call("POST", "/run", {"cmd": "true"}, headers={**STRICT, "Origin": "https://a.example"})
    assert "Preference-Applied" in answer.headers["Access-Control-Expose-Headers"].split(", ")
