"""An nginx in front of ours that is as it is installed: it buffers what it is not asked to pass on."""

import os
import shutil
import subprocess

import pytest

from sandbox import TIMEOUT, EventStream, Port, Sandbox, wait_until

pytestmark = pytest.mark.host

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")

CONF = """
daemon off;
pid {home}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/body; fastcgi_temp_path {home}/fastcgi; proxy_temp_path {home}/proxy;
    scgi_temp_path {home}/scgi; uwsgi_temp_path {home}/uwsgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{behind}; }}
    }}
}}
"""


@pytest.fixture
def front(server, tmp_path):
    """The sandbox of `server` through such an nginx."""
    port = Port()
    (tmp_path / "nginx.conf").write_text(CONF.format(home=tmp_path, port=port.number, behind=server.port))
    with subprocess.Popen([NGINX, "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"]) as nginx:
        try:
            sandbox = Sandbox(f"http://127.0.0.1:{port.number}", (server.proxy_host, server.proxy_port), server.secret)
            wait_until(lambda: nginx.poll() is None and (tmp_path / "nginx.pid").exists(), "the nginx in front")
            yield sandbox
        finally:
            nginx.terminate()
    port.free()


def test_each_event_comes_when_it_happens(front, server, tmp_path):
    """Of a command and of a log: it is read before the command may go on. The nginx in front needs no setting for it."""
    wait = "while [ ! -e {0}/{1} ]; do sleep 0.01; done; echo {1}"
    os.chmod(tmp_path, 0o777)
    command = "; ".join(["echo first", wait.format(tmp_path, "run"), wait.format(tmp_path, "more")])
    job = server.start(command.replace("run", "job"))["id"]
    streams = {"run": front.stream(command, timeout=TIMEOUT),
               "job": EventStream(front, "GET", f"/process_logs_streaming?id={job}", timeout=TIMEOUT)}
    for name, stream in streams.items():
        with stream:
            assert stream.next().data["data"] == "first"
            (tmp_path / name).touch()
            assert stream.next().data["data"] == name
            (tmp_path / "more").touch()
            assert [event.name for event in stream.events()][-1] == "complete"
            (tmp_path / "more").unlink()


def test_only_streams_ask_for_it(sandbox):
    with sandbox.stream("true") as stream:
        assert stream.headers["X-Accel-Buffering"] == "no"
    answer = sandbox.call("POST", "/run", {"cmd": "echo done"})
    assert "X-Accel-Buffering" not in answer.headers and answer.json()["stdout"] == "done\n"
