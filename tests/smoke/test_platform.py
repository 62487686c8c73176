"""Sandboxes in an nginx that is there already: `nginx-sandbox render`, two include lines, and all that may be behind them."""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import uuid

import pytest
import requests

from foreground import LAUNCHER
from platform_nginx import MODULES, Platform, Site, nginx_version
from sandbox import BIG_TIMEOUT, REPOSITORY, TIMEOUT, EventStream, Port, alive, http_request, in_threads, proc_file, wait_until


@pytest.fixture
def platform(home):
    with Platform(home) as platform:
        yield platform


def assert_error(answer, status):
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json"), answer.text
    assert answer.json()["error"] and answer.headers["X-Request-ID"]
    assert "X-Site" not in answer.headers


def told_to_wait(site):
    """Guesses until it is a 429, which is the value."""
    def guess():
        answer = site.get("/list_processes", headers={"Authorization": "Bearer wrong"})
        assert answer.status_code in (401, 429)
        return [answer] if answer.status_code == 429 else None  # (an answer with an error is not true)

    return wait_until(guess, "a 429")[0]


# ---- the operator's own sites ----

PROBES = [
    ("GET", "/", {}, b""), ("GET", "/hello", {"Authorization": "Bearer x"}, b""), ("HEAD", "/hello", {}, b""),
    ("GET", "/none", {}, b""), ("GET", "/run", {}, b""), ("GET", "/health", {}, b""), ("GET", "/x.php", {}, b""), ("GET", "/sandboxes", {}, b""),
    ("GET", "/sandbox", {}, b""), ("POST", "/", {}, b"x"), ("POST", "/", {}, b"x" * 2000), ("GET", "/static/page.html", {}, b""),
    ("GET", "/static/", {}, b""), ("GET", "/index.html", {"Accept-Encoding": "gzip"}, b""), ("GET", "/", {"Range": "bytes=0-3"}, b""),
    ("GET", "/", {"Host": "other.example.org"}, b""), ("GET", "/none", {"Host": "other.example.org"}, b""),
    ("GET", "/sandbox/run", {"Host": "other.example.org"}, b""), ("OPTIONS", "/hello", {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}, b""),
    ("GET", "/hello", {"Origin": "https://a.example"}, b""), ("GET", "/limited.html", {}, b""), ("GET", "/limited.html", {}, b""),
]


def describe(platform):
    """What its own sites answer and log."""
    mark = f"/{uuid.uuid4()}"
    requests.get(f"http://127.0.0.1:{platform.plain}{mark}", timeout=TIMEOUT)
    answers = []
    for method, target, headers, body in PROBES:
        for tls in (True, False):
            connection = Site(platform, "", tls=tls).connection(TIMEOUT)
            connection.request(method, target, body or None, headers)
            response = connection.getresponse()
            kept = sorted(item for item in response.getheaders() if item[0] not in ("Date", "Expires", "ETag", "Last-Modified"))
            answers.append((method, target, headers, response.status, kept, response.read()))
            connection.close()
    with socket.create_connection(("127.0.0.1", platform.tcp), timeout=TIMEOUT) as connection:
        answers.append(connection.recv(100))

    def lines():
        found = (platform.home / "access.log").read_text().partition(mark)[2].splitlines()[1:]
        return found if len(found) == 2 * len(PROBES) else None

    return answers, wait_until(lines, "a line for each request")


def test_nothing_else_changes(platform):
    """Other sites, their error pages, limits and logs are the same before, with two include lines and a third, and after."""
    platform.settings(SANDBOX_PREFIX="/sandbox", SANDBOX_MAX_FAILED_AUTH=1, SANDBOX_CORS_ORIGINS="*")
    platform.add("default", "secret")
    platform.rendered()
    platform.configure()
    platform.start_nginx()
    before = describe(platform)
    platform.stop_nginx(signal.SIGTERM)  # with it goes what the limits remember
    assert {answer[3] for answer in before[0][:-1]} == {200, 206, 403, 404, 405, 413, 429}

    platform.include_all()
    platform.start_nginx()
    site = Site(platform, "secret", "/sandbox")
    assert site.shell("echo inside") == "inside\n"
    told_to_wait(site)
    ours = (platform.home / "access.log").read_text().count(" /sandbox/")
    assert ours >= 3
    during = describe(platform)
    assert during == before
    errors = (platform.home / "error.log").read_text()
    assert "secret" not in errors and "[error]" not in re.sub(r".*limiting requests.*|.*intended to send too large body.*|.*No such file.*|"
                                                              r".*is forbidden.*", "", errors)


# ---- below a prefix, and as a host of its own ----


@pytest.mark.parametrize("prefix", ["/box", ""], ids=["prefix", "host"])
def test_files_beside_a_site(platform, prefix):
    """The paths below /files are the API's beside the locations of a site, which may have one of that name."""
    platform.settings(**({"SANDBOX_PREFIX": prefix} if prefix else {}), SANDBOX_MAX_UPLOAD="100k")
    platform.add("default", "secret")
    platform.rendered()
    platform.configure(http=platform.include("http"), stream=platform.include("stream"),
                       server=f"location /files/ {{ return 200 own; }} location /box {{ return 200 own; }} {platform.include('server')}")
    platform.start_nginx()
    site = Site(platform, "secret", prefix)
    path = platform.home / "a b.html"
    target = "/files" + str(path).replace(" ", "%20")
    content = b"<p>" * 20000
    assert site.call("PUT", target, content).status_code == 201 and path.read_bytes() == content
    assert_error(site.call("PUT", target, b"x" * 102401), 413)
    answer = site.get(target, headers={"Accept-Encoding": "gzip", "Range": "bytes=3-5"})
    assert (answer.status_code, answer.content) == (206, b"<p>")
    assert not {"X-Site", "Expires", "Content-Encoding"} & set(answer.headers) and answer.headers["Content-Security-Policy"]
    assert site.get(target).content == content
    assert_error(site.get(target, token=False), 401)
    assert site.call("DELETE", target).status_code == 204 and not path.exists()


@pytest.mark.parametrize("setting, prefix", [("/koyeb-sandbox", "/koyeb-sandbox"), ("/a, /a/b-c/", "/a/b-c"), ("/a,/a/b-c", "/a"), (None, "")],
                         ids=["prefix", "prefix in a prefix", "prefix around a prefix", "host"])
def test_the_api_over_tls(platform, setting, prefix):
    """Each endpoint kind and each error, below a prefix that fcgi-app does not see."""
    platform.settings(**({"SANDBOX_PREFIX": f'"{setting}"'} if setting else {}), SANDBOX_MAX_BODY="1k", SANDBOX_MAX_FAILED_AUTH=1000000)
    platform.add("default", "secret")
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    site = Site(platform, "secret", prefix)
    answer = site.get("/health", token=False)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert set(site.get("/health?full=1").json()["daemons"]) == {"fcgi-app", "procd", "terminal", "guard"}
    assert site.get("/health?full=1", token=False).status_code == 401
    assert site.run("echo $0; echo >&2 two; exit 3")["code"] == 3
    with site.stream("echo one; echo two") as stream:
        assert [event.data.get("data") for event in stream.events()] == ["one", "two", None]
        assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    job = site.start("echo logged")["id"]
    assert site.lines(job) == ["logged"]
    assert site.get(f"/get_process?id={job}").json()["id"] == job

    for path in ("/run", "//run", "/%72un", "/x/../run", "/list_processes", "/process_logs_streaming?id=x"):
        assert_error(site.call("POST", path, {"cmd": "true"}, token=False), 401)
        if prefix:
            assert_error(site.call("POST", path, {"cmd": "true"}, token=False, headers={"Authorization": "Bearer secre"}), 401)
    assert_error(site.call("POST", "/run", {"cmd": "x" * 2000}), 413)
    assert_error(site.call("POST", "/run", {"cmd": "x" * 2000}, token=False), 401)
    assert_error(site.get("/run"), 405)
    if prefix:  # all below is the sandbox's
        for path in ("/nothing", "/run/", "/x.php", "/"):
            assert_error(site.get(path), 404)
            assert_error(site.get(path, token=False), 401)
        answer = Site(platform, "secret").call("POST", "/run", {"cmd": "true"})
        assert answer.status_code == 404 and "404, the site's own" in answer.text
    else:
        assert "404, the site's own" in site.get("/nothing").text


def test_too_many_wrong_tokens_below_a_prefix(platform):
    platform.settings(SANDBOX_PREFIX="/sandbox", SANDBOX_MAX_FAILED_AUTH=1)
    platform.add("default", "secret")
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    site = Site(platform, "secret", "/sandbox")
    answer = told_to_wait(site)
    assert_error(answer, 429)
    assert answer.headers["Retry-After"] == "1"
    assert site.shell("echo fine") == "fine\n"


HTTP2 = "listen 127.0.0.1:{port}; http2 on;" if nginx_version() >= (1, 25, 1) else "listen 127.0.0.1:{port} http2;"


def test_health_takes_no_body_by_http2(platform):
    """Where no header tells of one. Without the token none reaches fcgi-app, which would wait for its end."""
    platform.add("default", "secret")
    platform.rendered()
    port = Port()
    platform.ports.append(port)
    platform.configure(http=platform.include("http"), stream=platform.include("stream"),
                       servers=f"server {{ {HTTP2.format(port=port.number)} {platform.include('server')} }}")
    platform.start_nginx()

    def curl(path, *options, **given):
        return subprocess.Popen(["curl", "-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", *options,
                                 f"http://127.0.0.1:{port.number}{path}"], stdout=subprocess.PIPE, **given)

    token = ("-H", "Authorization: Bearer secret")
    for options in ((), token):
        with curl("/health", *options) as plain:
            assert plain.communicate()[0] == b"2 200"
        with curl("/health", *options, "-X", "GET", "-T", "-", stdin=subprocess.PIPE) as sender:
            assert sender.communicate(b"x" * 1000)[0] == b"2 200"
    for options, status in (((), 401), (token, 413)):
        with curl(f"/health?too-large={status}", *options, "-X", "GET", "-T", "-", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as sender:
            sender.communicate(b"x" * (1 << 20))  # (some versions of curl do not show the answer to half a body)
        wait_until(lambda: f"GET /health?too-large={status} {status} " in (platform.home / "access.log").read_text(), status)
    with curl("/health", "-X", "GET", "-T", "-", stdin=subprocess.PIPE) as sender:
        sender.stdin.write(b"x")
        sender.stdin.flush()
        with curl("/run", *token, "-X", "POST", "-T", "-", stdin=subprocess.PIPE) as runner:  # such bodies are taken elsewhere
            assert runner.communicate(b'{"cmd":"true"}')[0] == b"2 200"
        assert sender.communicate(b"x")[0] == b"2 200"


def test_nginx_starts_without_the_daemons(platform):
    """And says 503 for them."""
    platform.settings(SANDBOX_PREFIX="/sandbox")
    platform.add("default", "secret", run=False)
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    site = Site(platform, "secret", "/sandbox")
    for answer in (site.get("/health", token=False), site.post("/run", cmd="true")):
        assert_error(answer, 503)
        assert answer.headers["Retry-After"]


# ---- several sandboxes ----

NAMES = ("default", "include", "x" * 32)  # the first two mean something to a map
HOSTS = ("hostnames;", "one.example.org default;", "# a comment", "  *.two.example.org\tinclude ;", f'"~^three[.-]" {NAMES[2]};')
KEYS = ("one default;", "two include;", f"three {NAMES[2]};")


@pytest.mark.parametrize("by", ["host", "header"])
def test_sandboxes_behind_one_nginx(platform, by):
    """Each with its own secret, sockets, port and failures; who is nobody's gets nowhere."""
    names = NAMES
    if by == "host":
        platform.map(*HOSTS)
        headers = [{"Host": host} for host in ("one.example.org", "x.two.example.org", "three-4")]
        nobody = {"Host": "www.example.org"}
    else:
        platform.map(*KEYS)
        platform.settings(SANDBOX_ROUTE_BY="http_x_routing_key", SANDBOX_MAX_FAILED_AUTH=1)
        headers = [{"X-Routing-Key": key} for key in ("one", "two", "three")]
        nobody = {"X-Routing-Key": "four"}
    proxies = [platform.add(name, f"secret of {name}") for name in names]
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    sites = [Site(platform, f"secret of {name}", headers=headers[i], proxy_port=proxies[i]) for i, name in enumerate(names)]

    for i, site in enumerate(sites):
        assert site.get("/health", token=False).status_code == 200
        site.start(f"echo I am {names[i]}")
    for i, site in enumerate(sites):
        assert [process["command"] for process in site.processes()] == [f"echo I am {names[i]}"]
        for j, other in enumerate(sites):
            if j != i:
                answer = site.get("/list_processes", headers={"Authorization": f"Bearer {other.secret}"})
                assert answer.status_code in (401, 429)

    for secret in (None, *(site.secret for site in sites)):
        stranger = Site(platform, secret or "", headers=nobody)
        for path in ("/health", "/list_processes", "/health?full=1"):
            assert stranger.get(path, token=secret is not None).status_code in (401, 429)
    assert Site(platform, sites[0].secret).get("/list_processes").status_code in (401, 429)

    if by == "header":
        told_to_wait(sites[0])
        wait_until(lambda: sites[1].get("/list_processes", token=False).status_code == 401, "a guess at another sandbox")
        assert sites[0].shell("echo fine") == "fine\n"

    with contextlib.ExitStack() as stack:
        targets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in sites]
        for site, target in zip(sites, targets):
            assert site.post("/bind_port", port=target.getsockname()[1]).status_code == 200
        for site, target in zip(sites, targets):
            target.settimeout(TIMEOUT)
            with socket.create_connection((site.proxy_host, site.proxy_port), timeout=TIMEOUT) as client:
                accepted, _ = target.accept()
                accepted.sendall(b"there")
                assert client.recv(10) == b"there"
                accepted.close()
        # A proxy that leads to a proxy might go in circles.
        sites[0].post("/unbind_port")
        assert sites[0].post("/bind_port", port=proxies[1]).status_code == 200
        with socket.create_connection((sites[0].proxy_host, sites[0].proxy_port), timeout=TIMEOUT) as client:
            assert client.recv(1) == b""


# ---- web pages of other origins ----

OURS, THEIRS, NONE = "https://ours.example", "http://localhost:5173", "https://none.example"


def ask(site, path, origin):
    """A preflight, which has none of the headers that a page sets."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    host = {name: value for name, value in site.headers.items() if name == "Host"}
    return requests.options(site.url + path, headers={**host, **headers}, verify=str(site.certificate), timeout=TIMEOUT)


def origin_allowed(answer):
    assert "X-Site" not in answer.headers and "Access-Control-Allow-Credentials" not in answer.headers
    return answer.headers.get("Access-Control-Allow-Origin")


@pytest.mark.parametrize("prefix", ["/sandbox", ""], ids=["prefix", "host"])
@pytest.mark.parametrize("by", ["host", "header"])
def test_origins_of_each_sandbox(platform, by, prefix):
    """One has the list of all, one a list of its own, one none. Where a header chooses, which no preflight has, it goes by the list
    of all, and the request itself by its sandbox's."""
    names = ("include", "default", "none")
    platform.settings(SANDBOX_CORS_ORIGINS=f'"{OURS}"', SANDBOX_MAX_FAILED_AUTH=1000000, **({"SANDBOX_PREFIX": prefix} if prefix else {}),
                      **({"SANDBOX_ROUTE_BY": "http_x_routing_key"} if by == "header" else {}))
    platform.map(*(f"{number} {name};" for number, name in enumerate(names)))
    for name, own in zip(names, (None, THEIRS, "")):
        platform.add(name, "secret", run=False)
        if own is not None:
            with open(platform.etc / f"{name}.conf", "a", encoding="ascii") as file:
                file.write(f"SANDBOX_CORS_ORIGINS={own}\n")
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    for number, expected in enumerate((OURS, THEIRS, None)):
        site = Site(platform, "secret", prefix, headers={"Host" if by == "host" else "X-Routing-Key": str(number)})
        for origin in (OURS, THEIRS, NONE):
            answer = ask(site, "/run", origin)
            if origin == (expected if by == "host" else OURS):
                assert (answer.status_code, origin_allowed(answer)) == (204, origin)
                assert ("x-routing-key" in answer.headers["Access-Control-Allow-Headers"]) == (by == "header")
            else:
                assert_error(answer, 403)
                assert origin_allowed(answer) is None and "SANDBOX_CORS_ORIGINS" in answer.json()["error"]
            for token, status in ((True, 503), (False, 401)):  # the daemons do not run
                answer = site.get("/list_processes", token=token, headers={"Origin": origin})
                assert_error(answer, status)
                assert origin_allowed(answer) == (origin if origin == expected else None)
                assert answer.headers.get("Vary") == (None if expected is None else "Origin")
    answer = ask(Site(platform, "secret"), "/hello", OURS)
    assert answer.headers["X-Site"] and "Access-Control-Allow-Origin" not in answer.headers
    errors = (platform.home / "error.log").read_text()
    assert "[emerg]" not in errors and "[alert]" not in errors


# ---- metrics, logs ----


@pytest.fixture
def scrape(platform):
    """A function that gets a path of the listener for Prometheus, whose address is in the settings, with nothing that says who asks."""
    port = Port()
    platform.ports.append(port)
    platform.settings(SANDBOX_METRICS_LISTEN=f"127.0.0.1:{port.number}")
    return lambda path="/metrics": requests.get(f"http://127.0.0.1:{port.number}{path}", timeout=TIMEOUT)


def figures(answer):
    """{name with labels: number} of a 200."""
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8"), answer.text
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in answer.text.splitlines() if line and not line.startswith("#"))}


ENDED = 'nginx_sandbox_runs_total{outcome="exit"}'
DAEMONS = {"fcgi-app", "procd", "terminal", "guard"}


def test_each_sandbox_has_its_metrics(platform, scrape):
    """At /metrics/NAME, with names that mean something to a map and the longest; one of them does not run."""
    first, second, away = "a", "include", "x" * 32
    platform.map(f"second {second};", f"default {first};")
    platform.add(first, first)
    platform.add(second, second)
    platform.add(away, away, run=False)
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    site = Site(platform, second, headers={"Host": "second"})
    for _ in range(2):
        site.run("true")
    job = site.start("sleep 86400")
    Site(platform, first).run("true")
    for _ in range(2):  # connections are kept
        for path, runs, jobs in (("/metrics", 1, 0), ("/metrics/a", 1, 0), ("/metrics/include", 2, 1)):
            found = figures(scrape(path))
            assert (found["nginx_sandbox_up"], found[ENDED], found["nginx_sandbox_running_jobs"]) == (1, runs, jobs), path
            assert {name for name in found if "restarts" in name} == {f'nginx_sandbox_daemon_restarts_total{{daemon="{daemon}"}}' for daemon in DAEMONS}
            assert found["nginx_sandbox_nginx_requests_total"] >= 4
    found = figures(scrape(f"/metrics/{away}"))
    assert found.pop("nginx_sandbox_up") == 0 and found and all(name.startswith("nginx_sandbox_nginx_") for name in found)
    for path in ("/metrics/none", "/metrics/", "/metrics/a/", "/metrics/a%0a", "/metricsa", "/", "/run", "/metrics.txt", "/nginx_sandbox_metrics_app",
                 "/nginx_sandbox_metrics_nginx"):
        assert scrape(path).status_code == 404, path
    site.kill(job["id"])
    assert "[error]" not in re.sub(r".*No such file or directory\) while connecting to upstream.*", "", (platform.home / "error.log").read_text())


def test_metrics_while_daemons_come_and_go(platform, scrape):
    """Those of one sandbox; the other's go on."""
    for name in ("a", "b"):
        platform.add(name, name)
    platform.map("default a;")
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    assert figures(scrape("/metrics/a"))["nginx_sandbox_up"] == figures(scrape("/metrics/b"))["nginx_sandbox_up"] == 1
    platform.daemons.pop("b").__exit__()
    assert figures(scrape("/metrics/b"))["nginx_sandbox_up"] == 0
    assert figures(scrape("/metrics/a"))["nginx_sandbox_up"] == 1


def test_the_endpoint_in_the_log_has_no_prefix(platform):
    """What requests are grouped by is the same below each prefix; `uri` is what the client asked for."""
    platform.settings(SANDBOX_PREFIX="/sandbox,/sandbox/b")
    platform.add("default", "secret")
    platform.rendered()
    log = platform.home / "sandbox.log"
    platform.configure(http=platform.include("http"),
                       server=f"access_log {log} nginx_sandbox if=$nginx_sandbox_loggable; location = /run {{ return 200; }} {platform.include('server')}")
    platform.start_nginx()
    expected = {}
    for number, (path, endpoint) in enumerate((("/sandbox/run", "/run"), ("/sandbox/b/run", "/run"), ("/sandbox//x/../%72un", "/run"),
                                               ("/sandbox/none", ""), ("/sandbox/", ""), ("/run", ""), ("/sandbox/sandbox/run", ""), ("/hello", ""))):
        headers = [("Host", "x"), ("Authorization", "Bearer secret"), ("X-Request-ID", str(number)), ("Content-Length", "14")]
        with Site(platform, "secret", tls=False).raw() as raw:
            raw.exchange(http_request("POST", path, headers, b'{"cmd":"true"}'))
        expected[str(number)] = (path.replace("//x/../%72", "/r"), endpoint, 0 if endpoint else None)

    def logged():
        lines = [json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines()]
        found = {line["request_id"]: (line["uri"], line["endpoint"], line["exit_code"]) for line in lines}
        return found if found.keys() >= expected.keys() else None

    found = wait_until(logged, "a line for each request")
    assert {number: found[number] for number in expected} == expected


def accepted_connections(path):
    """The inodes of the connections that a listening unix socket has accepted (proc_pid_net(5))."""
    rows = [line.split() for line in pathlib.Path("/proc/net/unix").read_text().splitlines()]
    return {row[6] for row in rows if row[-1] == str(path) and row[5] == "03" and row[6] != "0"}


def test_connections_are_kept(platform):
    """Though the upstream is chosen by a variable: one worker, one client, one connection to each fcgi-app."""
    platform.map("one one;", "default two;")
    for name in ("one", "two"):
        platform.add(name, name)
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    sites = [Site(platform, "one", headers={"Host": "one"}), Site(platform, "two")]

    def ask(count):
        for _ in range(count):
            for site in sites:
                assert site.get("/list_processes").status_code == 200

    def connections():
        return [accepted_connections(platform.state / site.secret / "fcgi-app.sock") for site in sites]

    before = connections()  # (guard has one, too)
    ask(1)
    kept = [after - others for after, others in zip(connections(), before)]
    assert all(kept)
    ask(50)
    assert all(after & found for after, found in zip(connections(), kept))


# ---- a secret takes the place of another ----

SECRETS = ["plain-old-secret", 'a"b\'c$d\\e;f{g}h#i ${http_host} %41~*^.*$', "pässwörd-✓-😀-日本", "x" * 4096, "y", b"\xff\xfe not UTF-8 \x80"]


def status(platform, *values):
    """Of a request with these Authorization headers."""
    with Site(platform, "", tls=False).raw() as raw:
        headers = [("Host", "x"), *(("Authorization", value) for value in values)]
        return raw.exchange(http_request("GET", "/list_processes", headers))[0]


def test_several_secrets_at_once(platform):
    """Each of them is right, exactly; nothing near it is, and no two headers are."""
    platform.settings(SANDBOX_MAX_FAILED_AUTH=1000000)
    platform.add("default", *SECRETS)
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    for secret in SECRETS:
        secret = secret if isinstance(secret, bytes) else secret.encode()
        right = b"Bearer " + secret
        for spelling in (right, b"bearer " + secret, b"BEARER   " + secret):
            assert status(platform, spelling) == 200, spelling
        for wrong in (right[:-1], right + b"x", b"bearer\t" + secret, b"Bearer" + secret, secret, b"Bearer " + secret.swapcase(),
                      b"Bearer " + secret + b" " + secret, b"Bearer " + secret[1:], b"Bearer " + secret.replace(b"\\", b"")):
            if wrong.rstrip() not in (b"Bearer " + (other if isinstance(other, bytes) else other.encode()) for other in SECRETS):
                assert status(platform, wrong) in (400, 401), wrong
        for pair in ((right, right), (right, b"Bearer wrong"), (b"Bearer wrong", right), (b"", right)):
            assert status(platform, *pair) in (400, 401), pair
    for wrong in ((), (b"",), (b"Bearer",), (b"Bearer \xc3\xbf\xc3\xbe not UTF-8 \xc2\x80",),
                  ("Bearer \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} not UTF-8 \N{REPLACEMENT CHARACTER}".encode(),)):
        assert status(platform, *wrong) == 401, wrong
    complaints = [line for line in (platform.home / "error.log").read_text().splitlines() if "[notice]" not in line]
    assert not [line for line in complaints if "js" in line]


def open_streams(site, job, count):
    """So many log streams, each of which has shown its first line."""
    streams = in_threads(count, lambda _: EventStream(site, "GET", f"/process_logs_streaming?id={job}", timeout=BIG_TIMEOUT, answer_timeout=BIG_TIMEOUT))
    for stream in streams:
        assert stream.next().data["data"] == "first"
    return streams


def assert_whole(streams):
    for stream in streams:
        assert [(event.name, event.data.get("data")) for event in stream.events()] == [("log", "last"), ("complete", None)]
        assert not stream.cut
        stream.close()


def gated(platform, name="go"):
    return f"echo first; while [ ! -e {platform.home}/{name} ]; do sleep 0.05; done; echo last"


def test_a_rotation_ends_nothing(platform):
    """old, then new and old, then new: each by a reload, and what is open lives on."""
    platform.add("default", "old")
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    old, new = Site(platform, "old"), Site(platform, "new")
    daemons = sorted(platform.daemons["default"].tree())
    job = old.start(gated(platform))["id"]
    streams = open_streams(old, job, 5)
    assert new.get("/list_processes").status_code == 401
    assert "secure_link_md5" in (platform.etc / "nginx/generated/token.conf").read_text()

    platform.secrets("default", "new", "old")
    platform.rendered()
    platform.reload()
    assert old.status(job) == new.status(job) == "running"
    streams += open_streams(new, job, 5)
    assert old.get("/health?full=1").status_code == new.get("/health?full=1").status_code == 200

    platform.secrets("default", "new")
    platform.rendered()
    platform.reload()
    assert old.get("/list_processes").status_code == 401 and new.status(job) == "running"
    assert "secure_link_md5" in (platform.etc / "nginx/generated/token.conf").read_text()
    with old.stream("true") as stream:
        assert stream.status == 401

    (platform.home / "go").touch()
    assert_whole(streams)
    assert set(platform.daemons["default"].tree()) >= {pid for pid in daemons if alive(pid)} and new.ended(job) == "completed"


def test_a_rotation_by_the_documented_commands(platform):
    """Those for a machine without systemd, with the directories of this test, and without restarting anything."""
    bin_directory = platform.home / "bin"
    bin_directory.mkdir()
    places = f"--etc {platform.etc} --state {platform.state}"
    for name, line in (("nginx-sandbox", f'first=$1; shift; exec {LAUNCHER[0]} "$first" {places} "$@"'),
                       ("nginx", f'exec {" ".join(platform.command())} "$@"'), ("systemctl", "exit 1")):
        (bin_directory / name).write_text(f"#!/bin/sh\n{line}\n")
        (bin_directory / name).chmod(0o755)
    rotate, retire = re.search(r"```sh\n(nginx-sandbox secret rotate.*)\n(nginx-sandbox secret retire.*)\n```", (REPOSITORY / "docs/nginx.md").read_text()).groups()

    def follow(line):
        old = platform.workers()
        subprocess.run(["sh", "-c", line], check=True, env={**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}"}, timeout=TIMEOUT)
        wait_until(lambda: not set(old) & {pid for pid in platform.workers() if b"shutting down" not in proc_file(pid, "cmdline")}, "new workers")
        return (platform.etc / "default.secret").read_text().splitlines()

    def status(secret):
        return Site(platform, secret, tls=False).get("/list_processes").status_code

    platform.add("default", "\ufeffold")  # as an editor may leave it
    platform.rendered()
    platform.include_all()
    platform.start_nginx()
    assert status("old") == 200
    new, old = follow(rotate)
    assert old == "old" and status("old") == status(new) == 200
    job = Site(platform, new, tls=False).start("sleep 86400")["id"]
    for secret in ("old", new):
        for scheme in ("bearer", "BEARER", "Bearer "):
            assert Site(platform, "", tls=False).get("/list_processes", headers={"Authorization": f"{scheme} {secret}"}).status_code == 200
    assert follow(retire) == [new]
    assert (status("old"), status(new)) == (401, 200)
    assert Site(platform, new, tls=False).status(job) == "running"


def code_of(answer):
    return answer.status_code, answer.json()["error_code"]


@pytest.mark.parametrize("prefix", ["/box", ""], ids=["prefix", "host"])
def test_links_end_with_their_secret(platform, prefix):
    """Through a rotation and its reloads, below a prefix and over HTTP/2; one of another sandbox is none."""
    platform.settings(**({"SANDBOX_PREFIX": prefix} if prefix else {}), SANDBOX_ROUTE_BY="http_x_sandbox", SANDBOX_MAX_FAILED_AUTH="1000000")
    platform.add("default", "same")
    platform.add("other", "same")
    platform.settings("none", SANDBOX_MAX_LINK_LIFETIME="0", PROXY_PORT="1")
    platform.secrets("none", "same")
    platform.map("default default;", "other other;", "none none;")
    platform.rendered()
    port = Port()
    platform.ports.append(port)
    platform.include_all(servers=f"server {{ {HTTP2.format(port=port.number)} {platform.include('server')} }}")
    platform.start_nginx()
    site = Site(platform, "same", prefix)
    path = platform.home / "file"
    path.write_text("shared")
    link = site.post("/share_file", path=str(path)).json()["path"]
    put = site.post("/share_file", path=f"{path}2", method="PUT").json()["path"]
    assert link.startswith("/files/") and site.get(link, token=False).text == "shared"
    for name in ("other", "none"):
        assert code_of(site.get(link, token=False, headers={"X-Sandbox": name})) == (401, "unauthorized")
    if prefix:
        assert Site(platform, "same").get(link, token=False).status_code == 404  # the operator's own
    curl = ["curl", "-sS", "--http2-prior-knowledge", "-w", " %{http_code} %{http_version}"]
    url = f"http://127.0.0.1:{port.number}{prefix}"
    for target, wanted in ((link, "shared 200 2"), (link + "x", r'\{"error":.*,"error_code":"unauthorized"\} 401 2')):
        done = subprocess.run([*curl, f"{url}{target}"], stdout=subprocess.PIPE, text=True, check=True)
        assert re.fullmatch(wanted, done.stdout), done.stdout
    sent = subprocess.run([*curl, "-T", "-", f"{url}{put}"], input="x" * 300_000, stdout=subprocess.PIPE, text=True, check=True)
    assert sent.stdout.endswith(" 201 2") and pathlib.Path(f"{path}2").stat().st_size == 300_000

    def rotate(action):
        subprocess.run([*LAUNCHER, "secret", "--etc", platform.etc, "--state", platform.state, action], stdout=subprocess.PIPE, check=True)
        platform.reload()
        return Site(platform, (platform.etc / "default.secret").read_text().splitlines()[0], prefix)

    fresh = rotate("rotate")
    assert site.get(link, token=False).status_code == site.get("/list_processes").status_code == 200
    links = [link, *(one.post("/share_file", path=str(path)).json()["path"] for one in (site, fresh))]
    assert [site.get(one, token=False).text for one in links] == ["shared"] * 3
    rotate("retire")
    assert code_of(site.get(link, token=False)) == code_of(site.get("/list_processes")) == (401, "unauthorized")
    assert [site.get(one, token=False).status_code for one in links] == [401, 200, 200]  # the current secret signs, whose token it ever was


def test_no_secret_is_written(platform):
    """The files of nginx hold digests, and these are nobody else's to read."""
    for count in (1, 2):
        platform.secrets("default", *("tell-tale-one", "tell-tale-two")[:count])
        platform.rendered()
        paths = [path for path in (platform.etc / "nginx").rglob("*") if path.is_file()]
        assert len(paths) > 15
        salted = []
        for path in paths:
            text = path.read_text()
            assert "tell-tale" not in text, path
            if "$nginx_sandbox_keys" in text:  # of links, which have no salt
                assert path.stat().st_mode & 0o077 == 0
            elif re.search(r'(?m)^_default "|^secure_link_md5', text):
                assert path.stat().st_mode & 0o077 == 0, path
                salted.append(text)
        assert len(salted) == (2 if count == 1 else 1)
        platform.rendered()
        assert all(path.read_text() not in salted for path in paths), "the same salt again"


# ---- reload and stop ----


def test_a_reload_loses_no_stream(platform):
    """200 streams, two reloads; new requests go to new workers meanwhile. And with as many open a stop is a stop."""
    platform.add("default", "secret")
    platform.rendered()
    platform.include_all(workers=2)
    platform.start_nginx()
    site = Site(platform, "secret", tls=False)
    job = site.start(gated(platform))["id"]
    streams = open_streams(site, job, 200)
    old = platform.reload()
    assert site.shell("echo new") == "new\n"
    platform.reload()
    assert site.shell("echo newer") == "newer\n"
    (platform.home / "go").touch()
    assert_whole(streams)
    wait_until(lambda: not any(map(alive, old)), "the old workers to end")

    job = site.start(gated(platform, "never"))["id"]
    streams = open_streams(site, job, 200)
    old = platform.reload()
    workers = [pid for pid in {*old, *platform.workers()} if alive(pid)]
    assert len(workers) > 2
    platform.stop_nginx(signal.SIGTERM)
    wait_until(lambda: not any(map(alive, workers)), "the workers to end")
    for stream in streams:
        stream.close()


# ---- who may come at all ----


def documented(word):
    """The nginx configuration in docs/nginx.md that holds `word`."""
    blocks = re.findall(r"```nginx\n(.*?)```", (REPOSITORY / "docs/nginx.md").read_text(), re.S)
    found = [block for block in blocks if word in block]
    assert len(found) == 1
    return found[0]


def ask_with_certificate(platform, port, name, headers=None, path="/list_processes"):
    """(status, body) of a request with the client certificate of that name, or none."""
    context = ssl.create_default_context(cafile=platform.home / "cert.pem")
    if name:
        context.load_cert_chain(platform.home / f"{name}.pem", platform.home / f"{name}-key.pem")
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=context)
    connection.request("GET", path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def inner_server():
    """The documented one that only nginx talks to."""
    block = documented("listen unix:")
    return block[:block.index("\n}\n") + 3]


def configure_as_documented(platform, text):
    """These servers of docs/nginx.md, with the paths and ports of this test; the port of TLS."""
    port = Port()
    platform.ports.append(port)
    front = platform.home / "sandbox-front.conf"
    front.write_text(documented("proxy_buffering off").replace("/run/nginx-sandbox.sock", f"{platform.home}/inner.sock")
                     .replace("your-secret-here", "secret"))
    front.chmod(0o600)
    for written, here in (("listen 443 ssl", f"listen 127.0.0.1:{port.number} ssl"), ("/etc/ssl/sandbox.pem", f"{platform.home}/cert.pem"),
                          ("/etc/ssl/sandbox-key.pem", f"{platform.home}/key.pem"), ("/etc/ssl/clients.pem", f"{platform.home}/friend.pem"),
                          ("/run/nginx-sandbox.sock", f"{platform.home}/inner.sock"), ("/etc/nginx-sandbox/", f"{platform.etc}/"),
                          ("/etc/nginx/sandbox-front.conf", str(front))):
        text = text.replace(written, here)
    platform.configure(http=platform.include("http"), servers=text)
    return port.number


@pytest.fixture
def guarded(platform):
    """A sandbox, and certificates of a friend and of a stranger."""
    platform.add("default", "secret")
    platform.rendered()
    platform.certify("friend", "friend")
    platform.certify("stranger", "stranger")
    return platform


def test_a_certificate_besides_the_token(guarded):
    port = configure_as_documented(guarded, documented("without such a certificate"))
    guarded.start_nginx()
    right, wrong = {"Authorization": "Bearer secret"}, {"Authorization": "Bearer wrong"}
    assert ask_with_certificate(guarded, port, "friend", right) == (200, b'{"processes":[]}')
    assert ask_with_certificate(guarded, port, "friend", wrong)[0] == 401
    for name in ("stranger", None):
        for path in ("/list_processes", "/health"):
            assert ask_with_certificate(guarded, port, name, right, path)[0] == 400


def test_a_certificate_in_the_place_of_the_token(guarded):
    port = configure_as_documented(guarded, documented("listen unix:"))
    guarded.start_nginx()
    assert ask_with_certificate(guarded, port, "friend") == (200, b'{"processes":[]}')
    assert ask_with_certificate(guarded, port, "friend", {"Authorization": "Bearer wrong"})[0] == 200
    for name in ("stranger", None):
        assert ask_with_certificate(guarded, port, name, {"Authorization": "Bearer secret"})[0] == 400

    class Friend(Site):
        """A client with the certificate of a friend and no token."""

        def connection(self, timeout):
            context = ssl.create_default_context(cafile=guarded.home / "cert.pem")
            context.load_cert_chain(guarded.home / "friend.pem", guarded.home / "friend-key.pem")
            return http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout, context=context)

    with Friend(guarded, "none").stream(f"echo one; while [ ! -e {guarded.home}/go ]; do sleep 0.05; done; echo two") as stream:
        assert stream.next().data["data"] == "one"  # not held back
        (guarded.home / "go").touch()
        assert [event.data.get("data") for event in stream.events()] == ["two", None]


class Judge(http.server.BaseHTTPRequestHandler):
    """Lets one token through, as a service does that reads JWTs."""

    def do_GET(self):
        self.send_response(204 if self.headers["Authorization"] == "Bearer a.good.jwt" and not self.headers["Content-Length"] else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_service_that_judges(guarded):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge) as judge:
        threading.Thread(target=judge.serve_forever, daemon=True).start()
        servers = documented("auth_request").replace("127.0.0.1:9999", "127.0.0.1:%d" % judge.server_address[1])
        port = configure_as_documented(guarded, inner_server() + servers)
        guarded.start_nginx()
        assert ask_with_certificate(guarded, port, None, {"Authorization": "Bearer a.good.jwt"}) == (200, b'{"processes":[]}')
        for token in ("a.bad.jwt", "secret"):
            assert ask_with_certificate(guarded, port, None, {"Authorization": f"Bearer {token}"})[0] == 401
        assert ask_with_certificate(guarded, port, None)[0] == 401
        judge.shutdown()
