"""Very many requests and streams at once."""

import asyncio
import contextlib
import json
import re
import os
import pathlib
import socket

import pytest

from sandbox import BIG_TIMEOUT, TIMEOUT, EventStream, http_request, in_threads, proc_file, split_facts, wait_until


async def ask(sandbox, method, target, body=b""):
    """One request on a connection of its own: (status, headers in lower case, body)."""
    reader, writer = await asyncio.open_connection(sandbox.host, sandbox.port)
    try:
        headers = [("Host", "x"), sandbox.bearer(), ("Connection", "close"), ("Content-Length", str(len(body)))]
        writer.write(http_request(method, target, headers, body, version="HTTP/1.0"))
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return int(head.split(b" ", 2)[1]), head.decode().lower(), content


def at_once(sandbox, requests, timeout=BIG_TIMEOUT):
    async def all_of_them():
        return await asyncio.wait_for(asyncio.gather(*(ask(sandbox, *request) for request in requests)), timeout)

    return asyncio.run(all_of_them())


@pytest.mark.slow
def test_500_runs_at_once(sandbox):
    answers = at_once(sandbox, [("POST", "/run", json.dumps({"cmd": f"echo {number}"}).encode()) for number in range(500)])
    for number, (status, _, content) in enumerate(answers):
        assert status == 200 and split_facts(json.loads(content))[0] == {"stdout": f"{number}\n", "stderr": "", "code": 0}


@pytest.mark.slow
def test_500_small_requests_at_once(sandbox, workdir):
    sandbox.post("/write_file", path=f"{workdir}/file", content="x" * 1000)
    body = json.dumps({"path": f"{workdir}/file"}).encode()
    answers = at_once(sandbox, [("POST", "/read_file", body), ("GET", "/list_processes")] * 250)
    assert {status for status, _, _ in answers} == {200}
    assert {content for _, _, content in answers[::2]} == {json.dumps({"content": "x" * 1000}, separators=(",", ":")).encode()} or all(
        json.loads(content) == {"content": "x" * 1000} for _, _, content in answers[::2])


@pytest.mark.slow
@pytest.mark.host
def test_2000_open_log_streams(server):
    """All are served, the API answers meanwhile, and each gets the line that comes late, and the end."""
    job = server.start("echo first; read line <fifo; echo $line", cwd=server.shell("d=$(mktemp -d); mkfifo $d/fifo; echo $d").strip())
    directory = server.shell(f"readlink /proc/{job['pid']}/cwd").strip()
    target = f"/process_logs_streaming?id={job['id']}"
    request = http_request("GET", target, [("Host", "x"), server.bearer()], version="HTTP/1.0")

    async def watch(opened, ready):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        try:
            writer.write(request)
            head = await reader.readuntil(b'"data":"first"}\nid: ')
            opened.append(1)
            if len(opened) == 2000:
                ready.set()
            return head + await reader.read()
        finally:
            writer.close()

    def use():
        for number in range(20):
            assert server.shell(f"echo {number}") == f"{number}\n"
            assert server.get("/health", token=False).status_code == 200
            assert len(server.processes()) == 1
        server.shell(f"echo late >{directory}/fifo; rm -r {directory}")

    async def all_of_them():
        opened, ready = [], asyncio.Event()
        streams = [asyncio.ensure_future(watch(opened, ready)) for _ in range(2000)]
        failed = asyncio.ensure_future(asyncio.wait(streams, return_when=asyncio.FIRST_EXCEPTION))
        await asyncio.wait_for(asyncio.wait([asyncio.ensure_future(ready.wait()), failed], return_when=asyncio.FIRST_COMPLETED), BIG_TIMEOUT)
        await asyncio.to_thread(use)
        return await asyncio.wait_for(asyncio.gather(*streams), BIG_TIMEOUT)

    for raw in asyncio.run(all_of_them()):
        assert raw.startswith(b"HTTP/1.1 200 ")
        assert raw.count(b"\nevent: log\n") == 2
        assert re.search(rb'"data":"late"\}\nid: \S+\n\nevent: complete\ndata: \{"message":"stream ended"\}\nid: [0-9a-f]{8}-end\n\n$', raw)


def assert_turned_away(status, headers, content):
    assert status == 503
    assert "retry-after:" in headers and "content-type: application/json" in headers
    assert json.loads(content)["error"]


@pytest.mark.host
def test_past_the_cap(make_server):
    """All streams that are allowed are open: one more gets an error in JSON with Retry-After; later there is room."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    job = server.start("echo x; sleep 86400")
    streams = []
    for _ in range(16):
        stream = EventStream(server, "GET", f"/process_logs_streaming?id={job['id']}", timeout=TIMEOUT)
        if stream.status != 200:
            break
        assert stream.next().data["data"] == "x"
        streams.append(stream)
    assert len(streams) >= 14
    for _ in range(5):
        for request in (("POST", "/run", b'{"cmd":"true"}'), ("GET", f"/process_logs_streaming?id={job['id']}")):
            (answer,) = at_once(server, [request])
            assert_turned_away(*answer)
    for stream in streams:
        stream.close()
    wait_until(lambda: server.post("/run", cmd="true").status_code == 200, "room again")
    assert in_threads(8, lambda number: server.shell(f"echo {number}")) == [f"{number}\n" for number in range(8)]


@pytest.mark.host
def test_a_burst_past_the_cap(make_server, tmp_path):
    """Each of 200 at once is served, or turned away with nothing done: no reset, no other answer."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    answers = at_once(server, [("POST", "/run", json.dumps({"cmd": f"touch {tmp_path}/{number}; sleep 0.05"}).encode()) for number in range(200)])
    for number, answer in enumerate(answers):
        if answer[0] == 200:
            assert json.loads(answer[2])["code"] == 0 and (tmp_path / str(number)).exists()
        else:
            assert_turned_away(*answer)
            assert not (tmp_path / str(number)).exists()
    assert sum(answer[0] == 200 for answer in answers) >= 10
    assert server.shell("echo room") == "room\n"


@pytest.mark.host
def test_many_idle_connections_take_no_place(make_server):
    """Connections that ask for nothing do not count against the cap."""
    server = make_server({"SANDBOX_MAX_CONNECTIONS": "16"})
    idle = [server.raw() for _ in range(100)]
    for raw in idle[:50]:
        raw.send(b"POST /run HTTP/1.1\r\nHost: x\r\n")
    for number in range(20):
        assert server.shell(f"echo {number}") == f"{number}\n"
    for raw in idle:
        raw.socket.close()


# ---- a client that takes nothing ----


def no_room(sandbox, method, target, body=b""):
    """A connection with small buffers that has asked and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(BIG_TIMEOUT)
    client.connect((sandbox.host, sandbox.port))
    headers = [("Host", "x"), sandbox.bearer(), ("Content-Length", str(len(body)))]
    client.sendall(http_request(method, target, headers, body))
    return client


def was_cut(client):
    """Whether the server has dropped the connection: what is in the buffers ends without the end of the answer."""
    answer = b""
    try:
        while piece := client.recv(1 << 16):
            answer += piece
    except ConnectionResetError:
        return True
    return b"\r\n0\r\n\r\n" not in answer and b"event: complete" not in answer


@pytest.mark.host
def test_a_reader_that_takes_nothing_is_disconnected(make_server, make_marker):
    """After SANDBOX_READER_TIMEOUT, which the reader beside it must keep on a busy machine, and without harm to the others."""
    server, marker = make_server({"SANDBOX_READER_TIMEOUT": "5s"}), make_marker()
    count = 60_000
    job = server.start(f"read line <fifo; seq -f '%.0f {'x' * 200}' {count}; echo end", cwd=server.shell("d=$(mktemp -d); mkfifo $d/fifo; echo $d").strip())
    directory = server.shell(f"readlink /proc/{job['pid']}/cwd").strip()
    target = f"/process_logs_streaming?id={job['id']}"
    body = json.dumps({"cmd": f"yes & {marker.sleep}"}).encode()
    with no_room(server, "GET", target) as log, server.logs(job["id"]) as other, \
            no_room(server, "POST", "/run_streaming", body) as stream, no_room(server, "POST", "/run", body) as run:
        marker.sleeping(server, 2)
        server.shell(f"echo go >{directory}/fifo; rm -r {directory}")
        lines = [event.data["data"].split()[0] for event in other if event.name == "log"]
        assert lines == [str(number) for number in range(1, count + 1)] + ["end"]
        marker.gone(server)  # the trees of the commands went with their clients
        wait_until(lambda: [server.answered(path) for path in ("/process_logs_streaming", "/run_streaming")] == [2, 1], "the streams to be over")
        assert was_cut(log) and was_cut(stream) and was_cut(run)


@pytest.mark.host
def test_a_quiet_stream_is_no_reader_that_takes_nothing(make_server):
    server = make_server({"SANDBOX_READER_TIMEOUT": "1s"})
    with server.stream("echo first; sleep 3; echo last") as stream:
        assert [event.data.get("data") for event in stream] == ["first", "last", None]
    assert server.run("sleep 3; echo last")["stdout"] == "last\n"


# ---- long lists ----


@pytest.mark.host
def test_a_list_of_many_pages(server):
    """More than one message between the daemons holds: whole, in order, each once."""
    started = in_threads(4, lambda number: [server.start(f"exit 0 # {number} {'x' * 2000}")["id"] for _ in range(50)])
    listed = [process["id"] for process in server.processes()]
    assert len(listed) == 200 and set(listed) == {identifier for part in started for identifier in part}
    times = [process["started_at"] for process in server.processes()]
    assert times == sorted(times)


@pytest.mark.host
def test_who_takes_no_list_holds_none_in_memory(server):
    """120 commands of 64 KiB make a list of 8 MB; 30 clients ask for it and read nothing."""
    in_threads(4, lambda _: [server.start(f"exit 0 # {'x' * 70_000}") for _ in range(30)])
    before = memory_files(server)
    clients = [no_room(server, "GET", "/list_processes") for _ in range(30)]
    server.settle()
    grown = memory_files(server) - before
    answers = [server.processes() for _ in range(2)]
    for client in clients:
        client.close()
    assert grown < 60 << 20, f"{grown >> 20} MiB"
    assert all(len(answer) == 120 for answer in answers)


def memory_files(server):
    """Bytes of the files in memory that the processes of a server have open or mapped."""
    sizes, mapped = {}, 0
    for pid in server.launch.tree():
        with contextlib.suppress(OSError):
            for descriptor in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(descriptor).startswith("/memfd:"):
                    status = descriptor.stat()
                    sizes[status.st_dev, status.st_ino] = status.st_blocks * 512
        mapped += sum(int(line.split()[1]) << 10 for line in proc_file(pid, "status").splitlines() if line.startswith(b"RssShmem:"))
    return sum(sizes.values()) + mapped
