"""
What somebody without the token, or a command inside, may try against the daemons: one request or one file must never hold up
what belongs to others.
"""

import array
import os
import pathlib
import socket
import struct

import pytest

from sandbox import RawConnection, http_request, wait_until

pytestmark = pytest.mark.host


def test_health_takes_no_body(make_server):
    """Bodies that never end, sent without a token, must not use up the requests at once."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    connections = []
    for framing in (("Transfer-Encoding", "chunked"), ("Content-Length", "60000")) * 20:
        raw = RawConnection("127.0.0.1", server.port)
        raw.send(http_request("GET", "/health", [("Host", "x"), framing]))
        connections.append(raw)
    for raw in connections:
        assert raw.response()[0] == 400
    assert server.get("/health", token=False).status_code == 200
    assert server.shell("echo open").strip() == "open"
    for raw in connections:
        raw.socket.close()


@pytest.mark.parametrize("header", [("Content-Length", "0"), ("Connection", "close")])
def test_health_takes_a_body_that_is_none(sandbox, header):
    with sandbox.raw() as raw:
        assert raw.exchange(http_request("GET", "/health", [("Host", "x"), header]))[0] == 200


def test_an_unread_body_holds_nobody_up(make_server):
    """With the token, on an endpoint that reads none: the slots come back although the bodies never end."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    connections = []
    for _ in range(24):
        raw = RawConnection("127.0.0.1", server.port)
        raw.send(http_request("GET", "/list_processes", [("Host", "x"), server.bearer(), ("Transfer-Encoding", "chunked")]))
        connections.append(raw)
    wait_until(lambda: server.get("/list_processes").status_code == 200, "a free place", 10)
    for raw in connections:
        raw.socket.close()


def job_directory(server, identifier):
    return pathlib.Path(server.run_dir, "state/jobs", identifier)


def test_a_fifo_in_a_log_stops_its_stream_alone(server):
    job = server.start("echo first; sleep 86400")["id"]
    other = server.start("while [ ! -e go ]; do sleep 0.05; done; echo last", cwd=str(server.run_dir))["id"]
    with server.logs(job) as stream, server.logs(other) as innocent:
        assert stream.next().data["data"] == "first"
        directory = job_directory(server, job)
        segment, = directory.glob("log.*")
        os.mkfifo(directory / f"log.{segment.stat().st_size:020d}")
        pathlib.Path(server.run_dir, "go").touch()
        assert [event.name for event in innocent.events()] == ["log", "complete"]
    server.kill(job)


@pytest.mark.parametrize("name", ["exit", "record"])
def test_a_fifo_for_a_record_holds_up_nobody(server, name):
    job = server.start("sleep 86400")["id"]
    directory = job_directory(server, job)
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    runner = int(next(line for line in pathlib.Path(f"/proc/{next(p['pid'] for p in server.processes())}/status").read_text().splitlines()
                      if line.startswith("PPid:")).split()[1])
    os.kill(runner, 9)
    assert server.get("/health").status_code == 200
    assert server.shell("echo here").strip() == "here"
    server.kill_daemon("procd")
    wait_until(lambda: server.get("/health").status_code == 200, "procd", 10)
    assert server.shell("echo again").strip() == "again"


def test_too_many_descriptors_in_a_message(server):
    """Four descriptors, one more than any message has."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(f"{server.run_dir}/procd.sock")
        client.settimeout(5)
        client.recv(1000)  # the greeting
        ping = struct.pack("=4sHHQ", b"pcd1", 1, 0, 0)
        client.sendmsg([ping], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 0, 0, 0]))])
        assert client.recv(1000) == b""  # dropped
    assert server.get("/health").status_code == 200
