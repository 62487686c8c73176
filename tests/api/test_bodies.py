"""Request bodies: what is no JSON, or not the JSON asked for, is a 400 and nothing has been done."""

import gzip
import json
import random

import pytest
import requests

from sandbox import BIG_TIMEOUT, POST_ENDPOINTS, descriptors, http_request, in_threads


def bad_request(answer):
    assert answer.status_code == 400, (answer.status_code, answer.text[:300])
    assert answer.headers["Content-Type"].startswith("application/json")
    error = answer.json()["error"]
    assert isinstance(error, str) and error
    return error


def nested(opening, closing, depth):
    return opening * depth + closing * depth


# Each is put where COMMAND stands for the string of a command that would leave a trace.
MALFORMED = {
    "nothing": b"",
    "spaces": b" \t\r\n ",
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a string": b"COMMAND",
    "an array": b'["cmd",COMMAND]',
    "an array around": b'[{"cmd":COMMAND}]',
    "no closing brace": b'{"cmd":COMMAND',
    "no opening brace": b'"cmd":COMMAND}',
    "two closing braces": b'{"cmd":COMMAND}}',
    "two objects": b'{"cmd":COMMAND}{"cmd":COMMAND}',
    "a word after": b'{"cmd":COMMAND} x',
    "a comma after": b'{"cmd":COMMAND},',
    "a NUL after": b'{"cmd":COMMAND}\0',
    "a NUL before": b'\0{"cmd":COMMAND}',
    "a form feed": b'{"cmd":COMMAND}\f',
    "a no-break space": b'\xc2\xa0{"cmd":COMMAND}',
    "two byte order marks": b'\xef\xbb\xbf' * 2 + b'{"cmd":COMMAND}',
    "a byte order mark within": b'{\xef\xbb\xbf"cmd":COMMAND}',
    "a byte order mark after": b'{"cmd":COMMAND}\xef\xbb\xbf',
    "half a byte order mark": b'\xef\xbb{"cmd":COMMAND}',
    "nothing but a byte order mark": b'\xef\xbb\xbf',
    "a comma before the brace": b'{"cmd":COMMAND,}',
    "a comma first": b'{,"cmd":COMMAND}',
    "two commas": b'{"cmd":COMMAND,,"x":1}',
    "no comma": b'{"cmd":COMMAND "x":1}',
    "no colon": b'{"cmd" COMMAND}',
    "two colons": b'{"cmd"::COMMAND}',
    "an equals sign": b'{"cmd"=COMMAND}',
    "no value": b'{"cmd":COMMAND,"x":}',
    "no member value": b'{"cmd":COMMAND,"x"}',
    "single quotes": b"{'cmd':COMMAND}",
    "a bare name": b"{cmd:COMMAND}",
    "a number for a name": b'{"cmd":COMMAND,1:2}',
    "a line comment": b'{"cmd":COMMAND}// x',
    "a block comment": b'{/* x */"cmd":COMMAND}',
    "the wrong bracket": b'{"cmd":COMMAND]',
    "crossed brackets": b'{"cmd":COMMAND,"x":[{]}}',
    "an array's comma": b'{"cmd":COMMAND,"x":[1,]}',
    "a leading zero": b'{"cmd":COMMAND,"x":01}',
    "a plus sign": b'{"cmd":COMMAND,"x":+1}',
    "a lone minus": b'{"cmd":COMMAND,"x":-}',
    "a minus and a zero too many": b'{"cmd":COMMAND,"x":-01}',
    "a dot at the end": b'{"cmd":COMMAND,"x":1.}',
    "a dot first": b'{"cmd":COMMAND,"x":.5}',
    "no exponent": b'{"cmd":COMMAND,"x":1e}',
    "no exponent after a sign": b'{"cmd":COMMAND,"x":1e+}',
    "a hexadecimal number": b'{"cmd":COMMAND,"x":0x10}',
    "two dots": b'{"cmd":COMMAND,"x":1.2.3}',
    "NaN": b'{"cmd":COMMAND,"x":NaN}',
    "Infinity": b'{"cmd":COMMAND,"x":-Infinity}',
    "half a word": b'{"cmd":COMMAND,"x":tru}',
    "a word in capitals": b'{"cmd":COMMAND,"x":TRUE}',
    "a word too long": b'{"cmd":COMMAND,"x":nulll}',
    "undefined": b'{"cmd":COMMAND,"x":undefined}',
    "a raw newline in a string": b'{"cmd":COMMAND,"x":"a\nb"}',
    "a raw tab in a string": b'{"cmd":COMMAND,"x":"a\tb"}',
    "a raw NUL in a string": b'{"cmd":COMMAND,"x":"a\0b"}',
    "a raw control character": b'{"cmd":COMMAND,"x":"\x1f"}',
    "a raw newline in a name": b'{"cmd":COMMAND,"x\n":1}',
    "an unknown escape": b'{"cmd":COMMAND,"x":"\\x41"}',
    "an escaped quote alone": b'{"cmd":COMMAND,"x":"\\\'"}',
    "an escaped newline": b'{"cmd":COMMAND,"x":"\\\n"}',
    "a short \\u": b'{"cmd":COMMAND,"x":"\\u12"}',
    "a \\u of no digits": b'{"cmd":COMMAND,"x":"\\u00zz"}',
    "a \\u with a sign": b'{"cmd":COMMAND,"x":"\\u+123"}',
    "a capital \\U": b'{"cmd":COMMAND,"x":"\\U0041"}',
    "a byte that is no UTF-8": b'{"cmd":COMMAND,"x":"\xff"}',
    "a lone continuation byte": b'{"cmd":COMMAND,"x":"\x80"}',
    "an overlong NUL": b'{"cmd":COMMAND,"x":"\xc0\x80"}',
    "an overlong slash": b'{"cmd":COMMAND,"x":"\xe0\x80\xaf"}',
    "an overlong four bytes": b'{"cmd":COMMAND,"x":"\xf0\x80\x80\xaf"}',
    "a surrogate in UTF-8": b'{"cmd":COMMAND,"x":"\xed\xa0\x80"}',
    "past U+10FFFF": b'{"cmd":COMMAND,"x":"\xf4\x90\x80\x80"}',
    "a cut sequence": b'{"cmd":COMMAND,"x":"\xe2\x82"}',
    "a cut sequence at the end": b'{"cmd":COMMAND,"x":"\xe2\x82',
    "Latin-1": '{"cmd":COMMAND,"x":"ü"}'.encode("latin-1"),
    "no UTF-8 in a name": b'{"cmd":COMMAND,"\xff":1}',
    "no UTF-8 outside strings": b'{"cmd":COMMAND,\xff"x":1}',
    "no end of a string": b'{"cmd":COMMAND,"x":"abc}',
    "no end of an escape": b'{"cmd":COMMAND,"x":"abc\\',
    "arrays 100,000 deep": b'{"cmd":COMMAND,"x":' + nested(b"[", b"]", 100_000) + b"}",
    "arrays that never close": b'{"cmd":COMMAND,"x":' + b"[" * 100_000,
    "objects 100,000 deep": b'{"cmd":COMMAND,"x":' + nested(b'{"y":', b"}", 100_000).replace(b":}", b":1}", 1) + b"}",
    "a body of arrays": b"[" * 100_000,
    "cmd twice": b'{"cmd":COMMAND,"cmd":COMMAND}',
    "cmd twice, once null": b'{"cmd":null,"cmd":COMMAND}',
    "cmd twice, once escaped": b'{"cmd":COMMAND,"\\u0063md":COMMAND}',
    "cwd twice": b'{"cmd":COMMAND,"cwd":"/","cwd":"/"}',
    "env twice": b'{"cmd":COMMAND,"env":{},"env":{}}',
    "cmd is a number": b'{"cmd":1}',
    "cmd is an array": b'{"cmd":[COMMAND]}',
    "cmd is an object": b'{"cmd":{"cmd":COMMAND}}',
    "cmd is true": b'{"cmd":true}',
    "cmd is null": b'{"cmd":null}',
    "cmd is missing": b"{}",
    "cmd in capitals": b'{"CMD":COMMAND}',
    "cmd with a NUL": b'{"cmd":"\\u0000"}',
    "a NUL in cmd": b'{"cmd":"true\\u0000x"}',
    "cwd is a number": b'{"cmd":COMMAND,"cwd":1}',
    "cwd is an object": b'{"cmd":COMMAND,"cwd":{}}',
    "cwd is false": b'{"cmd":COMMAND,"cwd":false}',
    "half a pair in cmd": b'{"cmd":"true \\ud800"}',
    "half a pair in cwd": b'{"cmd":COMMAND,"cwd":"/\\udc00"}',
    "a NUL in cwd": b'{"cmd":COMMAND,"cwd":"/\\u0000"}',
    "env is an array": b'{"cmd":COMMAND,"env":["A=1"]}',
    "env is a string": b'{"cmd":COMMAND,"env":"A=1"}',
    "env is a number": b'{"cmd":COMMAND,"env":0}',
    "an env value is a number": b'{"cmd":COMMAND,"env":{"A":1}}',
    "an env value is true": b'{"cmd":COMMAND,"env":{"A":true}}',
    "an env value is an array": b'{"cmd":COMMAND,"env":{"A":["x"]}}',
    "an env value is an object": b'{"cmd":COMMAND,"env":{"A":{}}}',
    "an env name with =": b'{"cmd":COMMAND,"env":{"A=B":"x"}}',
    "an env name that is =": b'{"cmd":COMMAND,"env":{"=":"x"}}',
    "an empty env name": b'{"cmd":COMMAND,"env":{"":"x"}}',
    "a NUL in an env name": b'{"cmd":COMMAND,"env":{"A\\u0000":"x"}}',
    "a NUL in an env value": b'{"cmd":COMMAND,"env":{"A":"\\u0000x"}}',
    "half a pair in an env name": b'{"cmd":COMMAND,"env":{"A\\ud800":"x"}}',
    "half a pair in an env value": b'{"cmd":COMMAND,"env":{"A":"\\ud800x"}}',
    "UTF-16": '{"cmd":COMMAND}'.encode("utf-16"),
    "a form": b"cmd=COMMAND",
}


@pytest.mark.parametrize("path", ["/run", "/run_streaming", "/start_process"])
@pytest.mark.parametrize("kind", MALFORMED)
def test_malformed(sandbox, workdir, path, kind):
    command = json.dumps(f"touch '{workdir}/done'").encode()
    bad_request(sandbox.call("POST", path, MALFORMED[kind].replace(b"COMMAND", command)))
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": []}


MARK = b"\xef\xbb\xbf"


def test_a_byte_order_mark_is_skipped(sandbox, workdir):
    """As some programs write one before UTF-8. It is neither a part of the JSON nor of what is in it."""
    assert sandbox.call("POST", "/run", MARK + b'{"cmd":"echo marked"}').json()["stdout"] == "marked\n"
    body = json.dumps({"path": f"{workdir}/file", "content": "\ufeffkept"}, ensure_ascii=False).encode()
    assert sandbox.call("POST", "/write_file", MARK + body).json() == {"success": True}
    assert sandbox.post("/read_file", path=f"{workdir}/file").json() == {"content": "\ufeffkept"}
    assert sandbox.call("POST", "/unbind_port", MARK).status_code == 200
    assert "byte 4:" in bad_request(sandbox.call("POST", "/run", MARK + b"{x"))


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_other_encodings_of_unicode_are_named(sandbox, coding):
    body = '{"cmd":"true"}'.encode(coding)
    for mark in (b"", "\ufeff".encode(coding)) if coding[-1] == "e" else (b"",):
        error = bad_request(sandbox.call("POST", "/run", mark + body))
        assert "UTF-16" in error and "UTF-8" in error


# ---- content codings ----


def unsupported(answer, coding):
    assert answer.status_code == 415, (answer.status_code, answer.text[:300])
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["Accept-Encoding"] == "identity"
    error = answer.json()["error"]
    assert "Content-Encoding" in error and coding in error, error


@pytest.mark.parametrize("path", POST_ENDPOINTS)
def test_a_body_in_a_content_coding_is_refused(sandbox, path):
    """By a status and a text that name it, and the connection goes on."""
    body = json.dumps({"cmd": "true", "path": "/nowhere", "content": "x", "id": "x", "port": "1", "data": "x"}).encode()
    for sent in (gzip.compress(body), body, b""):
        answer = sandbox.call("POST", path, sent, headers={"Content-Encoding": "gzip"})
        unsupported(answer, "gzip")
    assert "success" not in answer.json() or answer.json()["success"] is False
    assert sandbox.shell("echo fine") == "fine\n"


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "identity, gzip", "gzip, identity", "aws-chunked", "identityx",
                                    "identity;q=1", "x" * 5000, '"', "\\", "ü", "%s%n"])
def test_content_codings(sandbox, workdir, coding):
    body = json.dumps({"cmd": f"touch '{workdir}/done'"}).encode()
    answer = sandbox.call("POST", "/run", body, headers={"Content-Encoding": coding.encode()})
    unsupported(answer, coding[:100])
    assert len(answer.content) < 1000
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": []}


@pytest.mark.parametrize("coding", ["identity", "Identity", "identity, identity", " identity ,", ""])
def test_no_content_coding(sandbox, coding):
    answer = sandbox.call("POST", "/run", b'{"cmd":"echo as it is"}', headers={"Content-Encoding": coding.strip(" ")})
    assert answer.json()["stdout"] == "as it is\n"


def test_a_large_body_in_a_content_coding(sandbox, workdir):
    """Chunked, and more than nginx or fcgi-app has in memory."""
    body = gzip.compress(json.dumps({"path": f"{workdir}/file", "content": random.Random(1).randbytes(8 << 20).hex()}).encode(), 1)
    answer = sandbox.call("POST", "/write_file", iter((body,)), headers={"Content-Encoding": "gzip"}, timeout=BIG_TIMEOUT)
    unsupported(answer, "gzip")
    assert answer.json()["success"] is False
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": []}


def test_every_truncation(sandbox, workdir):
    body = json.dumps({"cmd": f"touch '{workdir}/done'", "env": {"A": "ü\u0001"}, "x": [1.5e3, True, None]}).encode()
    for length in range(len(body)):
        bad_request(sandbox.call("POST", "/run", body[:length]))
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": []}


@pytest.mark.parametrize("path, fields", [
    ("/write_file", {"path": "DIR/file", "content": "x"}),
    ("/make_dir", {"path": "DIR/directory"}),
    ("/delete_file", {"path": "DIR/kept"}),
    ("/delete_dir", {"path": "DIR"}),
])
def test_malformed_file_requests_do_nothing(sandbox, workdir, path, fields):
    sandbox.post("/write_file", path=f"{workdir}/kept", content="kept")
    body = json.dumps(fields).replace("DIR", workdir).encode()
    for broken in (body[:-1], body + b"x", body + body, b"[" + body + b"]", body[:-1] + b',"path":"/x"}',
                   body[:-1] + b',"x":"\\ud8"}', body[:-1] + b',"x":"\xff"}', body.replace(b'"path"', b"'path'")):
        bad_request(sandbox.call("POST", path, broken))
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": ["kept"]}


REQUIRED = {
    "/run": ["cmd"], "/run_streaming": ["cmd"], "/start_process": ["cmd"], "/write_file": ["path"], "/read_file": ["path"],
    "/delete_file": ["path"], "/delete_dir": ["path"], "/make_dir": ["path"], "/list_dir": ["path"], "/stat_file": ["path"], "/bind_port": ["port"], "/wait_port": ["port"],
    "/kill_process": ["id"], "/kill_run": ["id"], "/edit_file": ["path"], "/find_files": ["path"], "/search_files": ["path", "pattern"],
}
REQUIRED_CASES = [(path, name) for path, names in REQUIRED.items() for name in names]


def others_of(path, name):
    """Right members beside the one of this name."""
    others = {"/write_file": {"content": "x"}, "/edit_file": {"edits": [{"old_str": "x"}]}, "/search_files": {"path": "/none", "pattern": "x"}}
    return {other: value for other, value in others.get(path, {}).items() if other != name}


@pytest.mark.parametrize("path, name", REQUIRED_CASES)
def test_required_fields(sandbox, path, name):
    others = others_of(path, name)
    empty = [] if path in ("/run", "/run_streaming") else [{name: ""}]  # `sh -c ''` is a command
    for body in ({}, *empty, {name: None}, {name.upper(): "x"}, {"unknown": "x"}):
        error = bad_request(sandbox.call("POST", path, {**others, **body}))
    assert "required" in error.lower() or name in error.lower()


@pytest.mark.parametrize("path, name", REQUIRED_CASES)
def test_fields_of_the_wrong_type(sandbox, path, name):
    others = others_of(path, name)
    for value in ([], {}, True, False, ["x"], {"x": "y"}, 1.5, -1, *([] if name == "port" else [1, 0])):
        bad_request(sandbox.call("POST", path, {**others, name: value}))


@pytest.mark.parametrize("path, name", REQUIRED_CASES)
def test_fields_given_twice(sandbox, path, name):
    value = {"cmd": "true", "path": "/nonexistent/x", "port": "1", "id": "x", "pattern": "x"}[name]
    bad_request(sandbox.call("POST", path, f'{{"{name}":"{value}","content":"x","{name}":"{value}"}}'.encode()))
    assert sandbox.post("/unbind_port").status_code == 200


def test_content(sandbox, workdir):
    path = f"{workdir}/file"
    for value in (1, True, [], {}, ["x"]):
        bad_request(sandbox.post("/write_file", path=path, content=value))
    bad_request(sandbox.call("POST", "/write_file", f'{{"path":"{path}","content":"a","content":"b"}}'.encode()))
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": []}
    assert sandbox.post("/write_file", path=path, content="").json() == {"success": True}
    assert sandbox.post("/read_file", path=path).json() == {"content": ""}


def test_content_that_is_left_out(sandbox, workdir):
    """A published client leaves empty members out: without content, or with null, the file is empty."""
    for fields in ({}, {"content": None}):
        sandbox.post("/write_file", path=f"{workdir}/file", content="old")
        assert sandbox.post("/write_file", path=f"{workdir}/file", **fields).json() == {"success": True}
        assert sandbox.post("/read_file", path=f"{workdir}/file").json() == {"content": ""}


def test_an_empty_command(sandbox):
    """It is one like any other: `sh -c ''` does nothing and ends with 0. In the background it is refused."""
    assert sandbox.run("") == {"stdout": "", "stderr": "", "code": 0}
    with sandbox.stream("") as stream:
        assert stream.events() == [("complete", {"code": 0, "error": False})]
    assert bad_request(sandbox.post("/start_process", cmd="")) == "Command is required"


def test_an_env_value_that_is_null(sandbox):
    """It is the empty value, in all three commands."""
    command, env = "echo \"${A-unset}|$B\"", {"A": None, "B": "b"}
    assert sandbox.run(command, env=env)["stdout"] == "|b\n"
    with sandbox.stream(command, env=env) as stream:
        assert stream.events()[0].data["data"] == "|b"
    assert sandbox.lines(sandbox.start(command, env=env)["id"]) == ["|b"]


# Half a pair, as JavaScript makes it when it cuts a string: what is sent, and what it becomes.
HALVES = {
    "\\ud800": "\ufffd", "\\udc00": "\ufffd", "\\ud83dx": "\ufffdx", "\\ud83d\\u0041": "\ufffdA", "\\ud83d\\ud83d": "\ufffd\ufffd",
    "\\ude00\\ud83d": "\ufffd\ufffd", "\\ud83d\\ud83d\\ude00": "\ufffd😀", "\\uD83D\\n": "\ufffd\n", "\\ud83d\\\\": "\ufffd\\", "\\ufffd": "\ufffd",
}


@pytest.mark.parametrize("sent", HALVES)
def test_half_a_surrogate_pair_in_content(sandbox, workdir, sent):
    """In what is only carried it is U+FFFD: the content of a file, standard input, data."""
    expected = f"<{HALVES[sent]}>"
    assert sandbox.call("POST", "/write_file", f'{{"path":"{workdir}/file","content":"<{sent}>"}}'.encode()).json() == {"success": True}
    assert sandbox.post("/read_file", path=f"{workdir}/file").json() == {"content": expected}
    assert sandbox.call("POST", "/run", f'{{"cmd":"cat","stdin":"<{sent}>"}}'.encode()).json()["stdout"] == expected
    identifier = sandbox.start("cat >file; cat file", cwd=workdir, stdin=True)["id"]
    answer = sandbox.call("POST", "/write_stdin", f'{{"id":"{identifier}","data":"<{sent}>","eof":true}}'.encode())
    assert answer.json() == {"success": True, "written": len(expected.encode()), "full": False}
    assert sandbox.ended(identifier) == "completed" and sandbox.post("/read_file", path=f"{workdir}/file").json() == {"content": expected}


@pytest.mark.parametrize("path, body, name", [
    ("/run", '{"cmd":"true HALF"}', "cmd"), ("/run_streaming", '{"cmd":"HALF"}', "cmd"), ("/start_process", '{"cmd":"true HALF"}', "cmd"),
    ("/run", '{"cmd":"true","cwd":"/HALF"}', "cwd"), ("/run", '{"cmd":"true","env":{"A":"HALF"}}', "env"),
    ("/run", '{"cmd":"true","env":{"HALF":"a"}}', "env"), *((path, '{"path":"DIR/HALF"}', "path") for path in (
        "/read_file", "/write_file", "/delete_file", "/delete_dir", "/make_dir", "/list_dir", "/stat_file", "/edit_file")),
    ("/kill_process", '{"id":"HALF"}', "id"), ("/kill_process", '{"id":"x","signal":"HALF"}', "signal"), ("/bind_port", '{"port":"HALF"}', "port"),
])
def test_half_a_surrogate_pair_elsewhere(sandbox, workdir, path, body, name):
    """In what is done or named it is refused, by the member's name."""
    for half in ("\\ud800", "\\udfff"):
        answer = sandbox.call("POST", path, body.replace("HALF", half).replace("DIR", workdir).encode())
        error = bad_request(answer)
        assert "lone surrogate" in error and name in error
    whole = body.replace("HALF", "\\ud83d\\ude00").replace("DIR", workdir).encode()
    assert "surrogate" not in sandbox.call("POST", path, whole).text
    assert sandbox.post("/unbind_port").status_code == 200


def test_half_a_surrogate_pair_in_an_unknown_member(sandbox):
    for body in (b'{"cmd":"echo ok","x":"\\ud800"}', b'{"cmd":"echo ok","\\udc00":1}', b'{"cmd":"echo ok","x":["\\ud800",{"\\ud800":"\\ud800"}]}'):
        assert sandbox.call("POST", "/run", body).json()["stdout"] == "ok\n"


@pytest.mark.parametrize("path", ["/read_file", "/write_file", "/delete_file", "/delete_dir", "/make_dir", "/list_dir", "/stat_file", "/edit_file"])
def test_a_nul_in_a_path(sandbox, workdir, path):
    bad_request(sandbox.post(path, path=f"{workdir}\0/x", content="x"))
    bad_request(sandbox.post(path, path=f"{workdir}/x\0", content="x"))
    assert sandbox.post("/list_dir", path=workdir).json() == {"entries": []}


def test_a_nul_in_an_id(sandbox):
    bad_request(sandbox.post("/kill_process", id="x\0"))


def test_optional_fields_that_are_null_or_empty_are_absent(sandbox):
    plain = sandbox.run("pwd; env | grep -v ^_= | sort")
    for fields in ({"cwd": None}, {"cwd": ""}, {"env": None}, {"env": {}}, {"env": ""}, {"cwd": None, "env": None}):
        assert sandbox.run("pwd; env | grep -v ^_= | sort", **fields)["stdout"] == plain["stdout"], fields
        assert sandbox.post("/start_process", cmd="true", **fields).status_code == 201
        with sandbox.stream("echo x", **fields) as stream:
            assert stream.events()[-1] == ("complete", {"code": 0, "error": False})


def test_unknown_fields_are_ignored(sandbox):
    for extra in ({"recursive": True}, {"x": None}, {"Cmd": "false"}, {"x": {"cmd": "false", "y": [[], {}, "", 0, -1.5e-3]}}):
        assert sandbox.run("echo ok", **extra)["stdout"] == "ok\n"
    body = b'{"x":1,"x":2,"cmd":"echo ok","x":{"a":1,"a":1}}'
    assert sandbox.call("POST", "/run", body).json()["stdout"] == "ok\n"


def test_valid_json_of_every_kind(sandbox):
    for body in (
        b' \t\r\n{ "cmd" : "echo ok" } \t\r\n', b'{"\\u0063\\u006d\\u0064":"echo \\u006fk"}',
        b'{"cmd":"echo ok","x":[0,-0,1,-1,1.5,1e5,1E-5,1e+5,-0.0e-0,true,false,null,"",[],{}]}',
        b'{"cmd":"echo ok","x":"\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uFFFF\\ud83d\\ude00"}',
        b'{"cmd":"echo ok","x":"\x7f\xc2\x80\xe2\x82\xac\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"}',
        b'{"cmd":"echo ok","x":' + b"9" * 5000 + b"}", b'{"cmd":"echo ok","":1}', b'{"cmd":"echo ok","a\\u0000b":1}',
        b'{"cmd":"echo ok","x":' + nested(b"[", b"]", 500) + b"}",
    ):
        answer = sandbox.call("POST", "/run", body)
        assert answer.status_code == 200 and answer.json()["stdout"] == "ok\n", body[:100]


def test_escapes_and_unicode_arrive_exactly(sandbox):
    text = "".join(chr(code) for code in range(1, 0x100)) + "€\uffff😀\U0010ffff\ufffd\u2028 %s %n $x `x` \\ \" '"
    for ascii_only in (True, False):
        body = json.dumps({"cmd": "printf %s \"$TEXT\"", "env": {"TEXT": text}}, ensure_ascii=ascii_only).encode()
        assert sandbox.call("POST", "/run", body).json()["stdout"] == text


def test_unbind_takes_any_body_or_none(sandbox, proxy):
    for body in (None, b"", b"{}", b'{"port":"8080"}', b'{"port":8080}'):
        answer = sandbox.call("POST", "/unbind_port", body)
        assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Port binding removed"}), body


def test_a_body_cut_by_its_client_does_nothing(sandbox, workdir):
    """The JSON is whole, but the body that was announced is not."""
    for length, framing in ((1000, "Content-Length"), (0, "chunked")):
        body = json.dumps({"cmd": f"touch '{workdir}/done'"}).encode()
        header = ("Content-Length", str(length)) if length else ("Transfer-Encoding", "chunked")
        sent = body if length else b"%x\r\n%s\r\n" % (len(body), body)
        with sandbox.raw() as raw:
            raw.send(http_request("POST", "/run", [("Host", "x"), sandbox.bearer(), header], sent))
            raw.drain()
        sandbox.shell("true")
        assert sandbox.post("/list_dir", path=workdir).json() == {"entries": []}, framing


@pytest.mark.slow
def test_64_megabytes_of_spaces(sandbox):
    spaces = b" " * (64 << 20)
    bad_request(sandbox.call("POST", "/run", spaces, timeout=BIG_TIMEOUT))
    answer = sandbox.call("POST", "/run", spaces[: 8 << 20] + b'{"cmd":"echo ok"}' + spaces[: 8 << 20], timeout=BIG_TIMEOUT)
    assert answer.json()["stdout"] == "ok\n"


@pytest.mark.host
def test_a_body_that_nobody_wants_costs_no_other_request(server):
    """It is larger than what was once read of it: the connection to fcgi-app was then closed, with the next request on it."""
    def ask(_):
        for _ in range(40):
            answer = server.call("GET", "/list_processes", b" " * 200000)
            assert (answer.status_code, answer.json()) == (200, {"processes": []})

    in_threads(16, ask)
    # nginx would have tried again, on another connection, and listed both times.
    log = (server.run_dir / "nginx/access.log").read_text()
    assert not [line for line in log.splitlines() if "," in json.loads(line)["upstream_response_time"]]


@pytest.mark.host
def test_a_body_that_nobody_reads_costs_no_connection(server):
    """The answer is there long before the body: if nginx had it first it would throw the next request away."""
    body = b"x" * 300_000

    def ask(_):
        for method, path in (("GET", "/list_processes"), ("GET", "/get_process"), ("POST", "/run"), ("POST", "/nothing")) * 25:
            answer = server.call(method, path, body)
            assert answer.status_code in (200, 400, 404)
            try:
                assert server.shell("echo next") == "next\n"
            except requests.ConnectionError as error:
                raise AssertionError(f"after {method} {path}, {answer.headers}: {error!r}; {server.launch.stderr.text[-2000:]}") from error

    in_threads(8, ask)


@pytest.mark.host
def test_a_body_of_a_question_for_the_health_costs_no_connection(server):
    """It stays in nginx, so fcgi-app must not wait for it, and drop the connection of the next request."""
    server.supervise("guard", "d")  # whose questions come and go
    server.healthy()

    def connections():
        return {link for link in descriptors(server.daemon("fcgi-app")) if link.startswith("socket:")}

    before = connections()
    for body in (b"x" * 29, iter([b"x" * 10, b"y" * 20])) * 5:
        assert server.call("GET", "/health?full=1", body).status_code in (200, 400)
    assert before <= connections()
