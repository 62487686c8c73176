"""The snippets in an nginx that is there already, beside a site of its own, and that nginx as it is otherwise."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import requests

from foreground import LAUNCHER, Foreground
from sandbox import EventStream, Port, RawConnection, Sandbox, http_request, proc_file, proc_stat, wait_until

NGINX = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin") or "/usr/sbin/nginx"

FOREIGN = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
load_module /usr/lib/nginx/modules/ngx_stream_js_module.so;
load_module /usr/lib/nginx/modules/ngx_http_js_module.so;
pid {home}/nginx.pid;
error_log stderr;
daemon off;
{user}
events {{ }}
http {{
    access_log off;
    client_body_temp_path {home}/body; fastcgi_temp_path {home}/fastcgi; proxy_temp_path {home}/proxy;
    scgi_temp_path {home}/scgi; uwsgi_temp_path {home}/uwsgi;
    fastcgi_intercept_errors on; fastcgi_ignore_client_abort on;
    gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;
    ssi on; ssi_types *;
    include {run}/nginx/snippets/http.conf;
    server {{
        listen 127.0.0.1:{port};
        error_page 404 /mine.txt;
        satisfy any; allow all;
        location = /internal {{ internal; return 200 "for the site alone"; }}
        location / {{ return 404; }}
        location = /mine.txt {{ return 200 "the site's own"; }}
        location /site/ {{ return 200 "the site $http_authorization"; }}
        include {run}/nginx/snippets/server.conf;
        access_log {home}/sandbox.json nginx_sandbox if=$nginx_sandbox_loggable;
    }}
}}
stream {{
    include {run}/nginx/snippets/stream.conf;
}}
"""


def nginx_test(conf):
    done = subprocess.run([NGINX, "-t", "-e", "stderr", "-c", conf], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "warn" not in done.stdout and "deprecated" not in done.stdout, done.stdout


def foreign_conf(home, run, port):
    conf = os.path.join(home, "nginx.conf")
    user = "user www-data;" if os.getuid() == 0 else ""
    pathlib.Path(conf).write_text(FOREIGN.format(home=home, run=run, port=port, user=user))
    return conf


def test_nginx_takes_both_configurations(home):
    """Our own, rendered, and a foreign one that includes the snippets; neither with a word of warning."""
    port = Port()
    with Foreground(LAUNCHER, {"SANDBOX_SECRET": "own"}) as server:
        assert server.url
        nginx_test(f"{server.run_dir}/nginx/nginx.conf")
        nginx_test(foreign_conf(home, server.run_dir, port.number))
        server.end()
    port.free()


def test_a_foreign_nginx_serves_the_api_beside_its_site(home):
    port, metrics = Port(), Port()
    settings = {"SANDBOX_SECRET": "foreign", "SANDBOX_METRICS_LISTEN": f"127.0.0.1:{metrics.number}"}
    with Foreground([*LAUNCHER, "--without-nginx"], settings) as daemons:
        wait_until(lambda: "ready for nginx" in daemons.stdout.text, "the ready line")
        conf = foreign_conf(home, daemons.run_dir, port.number)
        nginx_test(conf)
        with subprocess.Popen([NGINX, "-e", "stderr", "-c", conf]) as nginx:
            try:
                check_foreign(port.number, daemons.proxy_port)
                text = requests.get(f"http://127.0.0.1:{metrics.number}/metrics", timeout=10).text
                assert "nginx_sandbox_up 1\n" in text and "\nnginx_sandbox_nginx_requests_total " in text
            finally:
                nginx.send_signal(signal.SIGTERM)
                nginx.wait(10)
        statuses = {json.loads(line)["status"] for line in pathlib.Path(home, "sandbox.json").read_text().splitlines()}
        assert {200, 401} <= statuses and 429 not in statuses
        assert daemons.end() == 0
    port.free()
    metrics.free()


def test_a_pool_behind_a_foreign_nginx(home):
    """Whom the site lets in by his address has not got the sandbox yet."""
    port = Port()
    settings = {"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": os.path.join(home, "claim")}
    with Foreground([*LAUNCHER, "--without-nginx"], settings) as daemons:
        wait_until(lambda: "ready for nginx" in daemons.stdout.text, "the ready line")
        conf = foreign_conf(home, daemons.run_dir, port.number)
        nginx_test(conf)
        with subprocess.Popen([NGINX, "-e", "stderr", "-c", conf]) as nginx:
            try:
                url = f"http://127.0.0.1:{port.number}"
                mine, other = (Sandbox(url, ("127.0.0.1", daemons.proxy_port), secret) for secret in ("mine", "other"))
                wait_until(lambda: answers(mine), "the foreign nginx to answer")
                assert mine.shell("echo claimed") == "claimed\n"
                assert other.post("/run", cmd="true").status_code == 401
                assert mine.get("/health?full=1").status_code == 200  # nginx knows by itself
            finally:
                nginx.send_signal(signal.SIGTERM)
                nginx.wait(10)
        assert daemons.end() == 0
    port.free()


def answers(sandbox):
    try:
        return sandbox.get("/health", token=False).status_code == 200
    except requests.ConnectionError:
        return False


def check_foreign(port, proxy_port):
    url = f"http://127.0.0.1:{port}"
    sandbox = Sandbox(url, ("127.0.0.1", proxy_port), "foreign")

    wait_until(lambda: answers(sandbox), "the foreign nginx to answer")
    assert sandbox.shell("echo through") == "through\n"
    include = "<!--# include virtual='/internal' -->"
    assert sandbox.shell(f"echo \"{include}\"") == include + "\n"
    assert set(sandbox.get("/health?full=1").json()["daemons"]) == {"fcgi-app", "procd", "terminal", "guard"}
    for path in ("/run", "//run", "/%72un", "/health/../run", "/process_logs_streaming", "/list_processes"):
        with sandbox.raw() as raw:
            assert raw.exchange(http_request("POST", path, [("Host", "x"), ("Content-Length", "0")]))[0] == 401, path
    command = {"cmd": "echo one; sleep 100.86"}
    with EventStream(sandbox, "POST", "/run_streaming", command, {"Accept-Encoding": "gzip"}) as stream:
        assert stream.next().data["data"] == "one"
    wait_until(lambda: not sandbox.find("sleep 100.86"), "the end of the command whose client has left")
    assert "nothing" in sandbox.call("POST", "/kill_process", {"id": "nothing"}).json()["error"]
    wait_until(lambda: sandbox.get("/list_processes", token=False).status_code == 429, "a 429 for guessing")
    assert sandbox.shell("echo through") == "through\n"
    # The site is as it was: no check, no error pages of ours.
    assert requests.get(f"{url}/site/x", timeout=5).text == "the site "
    answer = requests.get(f"{url}/run/", timeout=5)
    assert (answer.status_code, answer.text) == (404, "the site's own")
    assert sandbox.post("/bind_port", port=port).status_code == 200
    with RawConnection("127.0.0.1", proxy_port) as raw:
        assert raw.exchange(http_request("GET", "/health", [("Host", "x")]))[0] == 200


def test_health_does_not_wait_for_ever():
    """While fcgi-app hangs the answer is 503; after that it is 200 again."""
    with Foreground(LAUNCHER, {"SANDBOX_SECRET": "health"}) as server:
        sandbox = Sandbox(server.url, ("127.0.0.1", server.proxy_port), "health")
        hanging, = [pid for pid in server.tree() if b"bin/fcgi-app\0" in proc_file(pid, "cmdline")]
        os.kill(hanging, signal.SIGSTOP)
        tasks = [f"{hanging}/task/{name}" for name in os.listdir(f"/proc/{hanging}/task")]
        wait_until(lambda: all(proc_stat(task)[0] == "T" for task in tasks), "it to stop")  # threads run on for a moment
        answer = sandbox.get("/health", token=False, timeout=30)
        assert answer.status_code == 503 and answer.json()["error"] and answer.headers["Retry-After"] == "1"
        os.kill(hanging, signal.SIGCONT)
        wait_until(lambda: sandbox.get("/health", token=False, timeout=30).status_code == 200, "health")
        server.end()
