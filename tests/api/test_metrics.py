"""GET /metrics: its form, its access, and that each figure is true."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from figures import PREFIX, Measured, parse
from sandbox import REPOSITORY, TIMEOUT, freeze, has_ipv6, http_request, in_threads, refused, wait_until
from test_runners import runner_of

pytestmark = pytest.mark.host

DAEMONS = {"nginx", "fcgi-app", "procd", "terminal", "guard"}
PROMTOOL = shutil.which("promtool")
DASHBOARD = REPOSITORY / "deploy/grafana/nginx-sandbox.json"
DOCUMENT = REPOSITORY / "docs/metrics.md"


@pytest.fixture
def make_measured():
    servers = []

    def make(*arguments, **options):
        servers.append(Measured(*arguments, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def measured(make_measured):
    return make_measured()


def left_behind(server, path, fields):
    """A request whose client will not wait: the raw connection."""
    raw = server.raw()
    body = json.dumps(fields).encode()
    raw.send(http_request("POST", path, [("Host", "x"), server.bearer(), ("Content-Length", str(len(body)))], body))
    return raw


def busy(server):
    """Something of everything that only shows once it was there."""
    job = server.start("echo line; sleep 86400")
    with server.logs(job["id"]) as stream:
        stream.next()
    server.run("echo out")
    server.get("/none")
    wait_until(lambda: 'open_streams 0\n' in server.scrape().text, "the end of the stream")


# ---- the form ----


def test_the_format(measured):
    busy(measured)
    answer = measured.scrape()
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.text.endswith("\n") and "<!--" not in answer.text
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert all(name.startswith(PREFIX) and family.samples and family.documentation for name, family in families.items())
    assert {family.type for family in families.values()} == {"counter", "gauge", "histogram"}
    helped = re.findall(r"^# HELP (\S+) \S", answer.text, re.M)
    typed = re.findall(r"^# TYPE (\S+) (\w+)$", answer.text, re.M)
    assert helped == [name for name, _ in typed] and len(set(helped)) == len(helped) == len(families)
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in typed)
    for sample in families[PREFIX + "request_duration_seconds"].samples:
        if sample.name.endswith("_count"):
            buckets = [other.value for other in families[PREFIX + "request_duration_seconds"].samples
                       if other.name.endswith("_bucket") and other.labels["endpoint"] == sample.labels["endpoint"]]
            assert buckets == sorted(buckets) and buckets[-1] == sample.value


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (make test-metrics)")
def test_promtool(measured):
    """Prometheus's own tool takes it and finds nothing to say of the names either."""
    def check(text):
        done = subprocess.run([PROMTOOL, "check", "metrics"], input=text, text=True, capture_output=True, timeout=TIMEOUT, check=False)
        return done.returncode, done.stdout + done.stderr

    busy(measured)
    assert check(measured.scrape().text) == (0, "")
    measured.supervise("procd", "d")
    assert check(measured.scrape().text) == (0, "")
    measured.supervise("fcgi-app", "d")
    text = measured.scrape().text
    assert "nginx_sandbox_up 0\n" in text and check(text) == (0, "")
    assert check(text.replace("nginx_sandbox_up 0\n", "nginx_sandbox_up\n"))[0] != 0
    for daemon in ("procd", "fcgi-app"):
        measured.supervise(daemon, "u")
    measured.healthy()


def series_of(text):
    """Names as an expression uses them."""
    return {line.partition("{")[0].partition(" ")[0] for line in text.splitlines() if line and not line.startswith("#")}


def expressions(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "query", "definition") and isinstance(value, str):
                yield value
            else:
                yield from expressions(value)
    elif isinstance(node, list):
        for item in node:
            yield from expressions(item)


def test_the_dashboard(measured):
    busy(measured)
    dashboard = json.loads(DASHBOARD.read_text())
    series = series_of(measured.scrape().text)
    found = [expression for expression in expressions(dashboard) if expression != "prometheus"]
    assert len(found) > 30 and dashboard["uid"] and dashboard["title"]
    used = set()
    for expression in found:
        # What a selector follows is a name, and label_values() is given one.
        names = set(re.findall(r"[A-Za-z_:][\w:]*(?=\{)|(?<=label_values\()\w+", expression)) | set(re.findall(rf"{PREFIX}\w+", expression))
        assert names and names <= series, (expression, names - series)
        used |= names
    assert {name for name in series if not name.endswith(("_sum", "_count"))} <= used
    # Each panel that shows something asks for something.
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert all(panel["targets"] and panel["title"] for panel in panels)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (make test-metrics)")
def test_promtool_takes_the_dashboard(tmp_path):
    """Each expression, with a value for Grafana's variables."""
    def check(found):
        rules = [{"record": f"r:{number}", "expr": expression} for number, expression in enumerate(found)]
        path = tmp_path / "rules.json"  # which is YAML
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        return subprocess.run([PROMTOOL, "check", "rules", path], capture_output=True, text=True, timeout=TIMEOUT, check=False)

    found = [expression.replace("$instance", ".*").replace("$__rate_interval", "5m")
             for expression in expressions(json.loads(DASHBOARD.read_text())["panels"])]
    done = check(found)
    assert done.returncode == 0 and f"{len(found)} rules found" in done.stdout, done.stdout + done.stderr
    assert check([found[0] + "}"]).returncode != 0


def test_the_document(measured):
    """docs/metrics.md has a row for each name, with its type, and for nothing else."""
    busy(measured)
    rows = dict(re.findall(r"^\| `(\w+)(?:\{[^}`]*\})?` \| (\w+) \|", DOCUMENT.read_text(), re.M))
    assert rows == dict(re.findall(r"^# TYPE (\S+) (\w+)$", measured.scrape().text, re.M))


# ---- who may ask ----


def test_nobody_may_ask_unless_the_operator_says_so(sandbox):
    """By default there is no listener, and what is at PORT wants the token like everything."""
    assert sandbox.get("/metrics", token=False).status_code == 401
    figures = parse(sandbox.get("/metrics").text)
    assert figures["up"] == 1 and not any("nginx_connections" in name for name in figures)
    assert sandbox.post("/metrics").status_code == 405
    assert not (sandbox.run_dir / "nginx/generated/metrics.conf").read_text()


def test_off_is_off(make_measured):
    server = make_measured({"SANDBOX_METRICS_LISTEN": "off"})
    assert refused("127.0.0.1", server.metrics_port.number)


def test_the_listener_gives_nothing_else(measured):
    for path in ("/", "/health", "/run", "/list_processes", "/metrics/", "/metrics.txt", "/nginx_sandbox_metrics_app", "/nginx_sandbox_metrics_nginx"):
        for headers in ({}, {"Authorization": measured.authorization}):
            assert requests.get(measured.metrics_url + path, headers=headers, timeout=TIMEOUT).status_code == 404, path
    assert requests.post(measured.metrics_url + "/metrics", data="x", timeout=TIMEOUT).status_code == 405
    assert requests.head(measured.metrics_url + "/metrics", timeout=TIMEOUT).status_code == 200
    assert "nginx_sandbox_up 1\n" in requests.get(measured.metrics_url + "/metrics?x=<!--#echo var=\"1\" -->", timeout=TIMEOUT).text
    assert "/metrics" not in (measured.run_dir / "nginx/access.log").read_text()
    # It is there at this address alone.
    assert refused("127.0.0.2", measured.metrics_port.number)


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
def test_an_ipv6_listener(make_measured):
    assert make_measured(address="[::1]").figures()["up"] == 1


# ---- requests ----


def requests_total(**counts):
    """run_200=2, … as their names."""
    names = (name.rpartition("_") for name in counts)
    return {f'requests_total{{endpoint="{"other" if path == "other" else "/" + path}",status="{status}"}}': count
            for (path, _, status), count in zip(names, counts.values())}


def test_requests_by_endpoint_and_status(make_measured, marker, tmp_path):
    server = make_measured({"SANDBOX_MAX_JOBS": "1"})
    before = server.figures()
    server.run("true")
    server.run("false")
    job = server.start("sleep 86400")
    assert server.post("/start_process", cmd="true").status_code == 429
    assert server.post("/run").status_code == 400
    assert server.get("/run").status_code == 405
    assert server.call("OPTIONS", "/run").status_code == 204
    assert server.get("/get_process?id=none").status_code == 404
    assert server.post("/read_file", path=str(tmp_path / "none")).status_code == 200
    assert server.post("/bind_port", port=8080).status_code == 200
    assert server.post("/bind_port", port=8081).status_code == 409
    assert server.call("HEAD", "/list_processes").status_code == 200
    assert server.post("/read_file", path="x" * (33 << 20)).status_code == 413
    assert server.call("POST", "/run", b"", headers={"Content-Encoding": "gzip"}).status_code == 415
    for path in ("/none", "/none2", "/run/", '/"} 1', "/%0A"):
        assert server.get(path).status_code == 404, path
    with server.logs(job["id"]) as stream:
        server.kill(job["id"])
        stream.read_all()
    raw = left_behind(server, "/run", {"cmd": marker.sleep})
    marker.sleeping(server)
    raw.socket.close()
    server.moves(before, "requests_total", requests_total(
        run_200=2, start_process_201=1, start_process_429=1, run_400=1, run_405=1, run_204=1, run_415=1, get_process_404=1, read_file_200=1,
        bind_port_200=1, bind_port_409=1, list_processes_200=1, read_file_413=1, other_404=5, kill_process_200=1,
        process_logs_streaming_200=1, run_499=1))
    # As many durations as requests.
    now = server.figures()
    for endpoint in ("/run", "/read_file", "other"):
        requests_ = sum(value for name, value in now.items() if name.startswith(f'requests_total{{endpoint="{endpoint}"'))
        assert now[f'request_duration_seconds_count{{endpoint="{endpoint}"}}'] == requests_


def test_what_nginx_answers_is_only_in_its_own_figures(measured):
    """And a stranger makes no new series."""
    before = measured.figures()
    for path in ("/run", "/none", "/health?full=1"):
        assert measured.get(path, token=False).status_code == 401
    with measured.raw() as raw:
        assert raw.exchange(b"nonsense\r\n\r\n")[0] == 400
    now = measured.figures()
    assert {name for name in now.keys() ^ before.keys() if 'endpoint="/metrics"' not in name} == set()
    assert measured.moved(before, "requests_total") == {}
    # These four, and three scrapes.
    assert measured.figures()["nginx_requests_total"] - before["nginx_requests_total"] == 4 + 3


def test_the_guards_question_is_no_request(measured):
    """It has no path. This is what it sends."""
    before = measured.figures()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(measured.run_dir / "fcgi-app.sock"))
        connection.settimeout(TIMEOUT)
        connection.sendall(bytes.fromhex("0101000100080000 0001000000000000 0104000100000000 0105000100000000"))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert b"Status: 404" in answer
    measured.run("true")
    measured.moves(before, "requests_total", requests_total(run_200=1))


def test_durations(measured):
    def of(figures, what):
        return figures.get(f'request_duration_seconds_{what}', 0)

    before = measured.figures()
    measured.run("sleep 1.1")
    now = measured.figures()
    assert of(now, 'count{endpoint="/run"}') - of(before, 'count{endpoint="/run"}') == 1
    assert of(now, 'bucket{endpoint="/run",le="1"}') == of(before, 'bucket{endpoint="/run",le="1"}')
    assert of(now, 'bucket{endpoint="/run",le="+Inf"}') == 1
    assert 1.1 <= of(now, 'sum{endpoint="/run"}') < TIMEOUT


# ---- commands, jobs, streams ----


def test_runs_by_outcome(measured, make_marker):
    before = measured.figures()
    measured.run("true")
    measured.run("exit 3")
    measured.run("kill -TERM $$")
    measured.run("kill -KILL $$")
    measured.run("sleep 86400", timeout_ms=50)
    with measured.stream("true") as stream:
        stream.read_all()
    measured.moves(before, "runs_total", {'runs_total{outcome="exit"}': 3, 'runs_total{outcome="signal"}': 2, 'runs_total{outcome="timeout"}': 1})

    before = measured.figures()
    marker = make_marker()
    raw = left_behind(measured, "/run", {"cmd": marker.sleep})
    marker.sleeping(measured)
    [entry] = [run for run in measured.get("/list_runs").json()["runs"] if run["status"] == "running"]
    assert measured.post("/kill_run", id=entry["id"]).status_code == 200 and raw.response()[0] == 200
    measured.moves(before, "runs_total", {'runs_total{outcome="killed"}': 1})

    before = measured.figures()
    for path in ("/run", "/run_streaming"):
        marker = make_marker()
        raw = left_behind(measured, path, {"cmd": marker.sleep})
        marker.sleeping(measured)
        raw.socket.close()
    measured.moves(before, "runs_total", {'runs_total{outcome="cancelled"}': 2})

    before = measured.figures()
    assert measured.post("/run", cmd="true", cwd="/none").status_code == 400  # it has not run
    measured.moves(before, "runs_total", {})
    marker = make_marker()
    raw = left_behind(measured, "/run", {"cmd": marker.sleep})
    os.kill(runner_of(marker.sleeping(measured)[0]), signal.SIGKILL)
    assert raw.response()[0] == 409
    measured.moves(before, "runs_total", {'runs_total{outcome="lost"}': 1})


def test_what_runs_now(measured, make_marker):
    def now():
        figures = measured.figures()
        return [figures[name] for name in ("running_runs", "running_jobs", "running_terminals", "open_streams")]

    marker = make_marker()
    assert now() == [0, 0, 0, 0]
    jobs = [measured.start(f"echo line; {marker.sleep}") for _ in range(3)]
    with measured.stream(marker.sleep), measured.logs(jobs[0]["id"]) as one, measured.logs(jobs[1]["id"]) as other:
        one.next(), other.next()
        marker.sleeping(measured, 4)
        assert now() == [1, 3, 0, 2]
        figures = measured.figures()
        assert figures["requests_in_progress"] >= 4 and figures["runners"] >= 4 and figures["log_bytes"] > 150
    wait_until(lambda: now() == [0, 3, 0, 0], "no run and no stream")
    measured.kill(jobs[0]["id"])
    wait_until(lambda: now() == [0, 2, 0, 0], "one job less")
    terminal = measured.start("read line", pty={})
    assert now() == [0, 3, 1, 0]
    measured.kill(terminal["id"])
    wait_until(lambda: now() == [0, 2, 0, 0], "no terminal; one that has ended is none")


def test_bytes_out(measured, tmp_path):
    (tmp_path / "file").write_text("x" * 100_000)
    tmp_path.chmod(0o755)
    before = measured.figures()
    run = measured.post("/run", cmd="head -c 1000000 /dev/zero | tr '\\0' y").content
    file = measured.post("/read_file", path=str(tmp_path / "file")).content
    with measured.stream("seq 1000") as stream:
        streamed = stream.read_all()
    job = measured.start("seq 20000")
    assert measured.ended(job["id"]) == "completed"
    with measured.logs(job["id"]) as stream:
        log = stream.read_all()
    assert len(run) > 1_000_000 and len(log) > 1_000_000
    expected = {"/run": run, "/read_file": file, "/run_streaming": streamed, "/process_logs_streaming": log}
    for endpoint, data in expected.items():
        prefix = f'response_bytes_total{{endpoint="{endpoint}"}}'
        measured.moves(before, prefix, {prefix: len(data)})


def test_transfers(make_measured):
    server = make_measured()
    os.chmod(server.home, 0o777)
    before = server.figures()
    for size in (100, 1_000_000):
        assert server.call("PUT", f"/files{server.home}/file", b"x" * size).status_code in (201, 204)
        assert len(server.get(f"/files{server.home}/file").content) == size
    server.moves(before, "transfer", {'transfer_bytes_total{direction="in"}': 1_000_100, 'transfer_bytes_total{direction="out"}': 1_000_100})


def test_archives_are_transfers(make_measured):
    server = make_measured()
    os.chmod(server.home, 0o777)
    before = server.figures()
    archive = server.get(f"/files{server.home}?archive=tar").content
    assert server.call("PUT", f"/files{server.home}/copy?archive=tar&parents=1", archive).status_code == 200
    server.moves(before, "transfer", {'transfer_bytes_total{direction="in"}': len(archive), 'transfer_bytes_total{direction="out"}': len(archive)})


def test_gaps(make_measured, tmp_path):
    """What its reader got, to the byte and the line."""
    server = make_measured({"SANDBOX_LOG_MAX": "1m"})
    job = server.start(f"echo first; while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; seq 50000")
    with server.logs(job["id"]) as stream:
        first = stream.next()
    before = server.figures()
    (tmp_path / "go").touch()
    assert server.ended(job["id"], 12 * TIMEOUT) == "completed"
    with server.logs(job["id"], headers={"Last-Event-ID": first.id}) as stream:
        gap = stream.next()
        stream.read_all()
    assert gap.name == "gap" and gap.data["missed_lines"] > 1000
    server.moves(before, "log_gap", {"log_gaps_total": 1, "log_gap_bytes_total": gap.data["missed_bytes"],
                                     "log_gap_lines_total": gap.data["missed_lines"]})


# ---- daemons ----


def test_daemons(measured):
    figures = measured.figures()
    full = measured.get("/health?full=1").json()
    for name in DAEMONS:
        label = f'{{daemon="{name}"}}'
        assert figures["daemon_restarts_total" + label] == 0
        assert figures["daemon_resident_memory_bytes" + label] > 100_000
        assert figures["daemon_open_fds" + label] > 2
        assert figures["daemon_threads" + label] >= 1
        assert 0.5 < figures["daemon_resident_memory_bytes" + label] / 1024 / full["daemons"][name]["rss_kb"] < 2
    assert 0 < figures["uptime_seconds"] * 1000 <= full["uptime_ms"]
    assert figures["disk_size_bytes"] == full["disk"]["total_bytes"]


def test_restarts(measured):
    """What fcgi-app has counted begins again with it; what procd and the run scripts know does not."""
    measured.run("true")
    before = measured.figures()
    assert before['runs_total{outcome="exit"}'] == 1
    measured.back("procd", measured.kill_daemon("procd"))
    measured.moves(before, "daemon_restarts_total", {'daemon_restarts_total{daemon="procd"}': 1})
    assert measured.figures()['runs_total{outcome="exit"}'] == 1
    measured.back("fcgi-app", measured.kill_daemon("fcgi-app"))
    measured.moves(before, "daemon_restarts_total", {'daemon_restarts_total{daemon="procd"}': 1, 'daemon_restarts_total{daemon="fcgi-app"}': 1})
    assert measured.figures()['runs_total{outcome="exit"}'] == 0


def test_daemons_that_are_away(measured):
    """A scrape is answered all the same, and says so."""
    job = measured.start("sleep 86400")
    measured.supervise("procd", "d")
    figures = measured.figures()
    assert (figures["up"], figures["procd_up"]) == (1, 0)
    assert "running_jobs" not in figures and figures["open_streams"] == 0 and figures["nginx_connections_active"] >= 1
    measured.supervise("procd", "u")
    wait_until(lambda: measured.figures()["procd_up"] == 1, "procd to answer")
    assert measured.figures()["running_jobs"] == 1
    measured.supervise("fcgi-app", "d")
    for _ in range(3):  # as long as it waits for fcgi-app, when guard answers, and after that
        figures = measured.figures()
        assert figures["up"] == 0 and figures["nginx_connections_active"] >= 1
        assert all(name == "up" or name.startswith("nginx_") for name in figures)
    measured.supervise("fcgi-app", "u")
    wait_until(lambda: measured.figures()["up"] == 1, "fcgi-app to answer")
    assert measured.status(job["id"]) == "running"


def test_when_all_places_are_taken(make_measured):
    """By requests whose bodies do not come."""
    server = make_measured({"SANDBOX_MAX_CONNECTIONS": "16"})
    head = http_request("POST", "/write_file", [("Host", "x"), server.bearer(), ("Content-Length", "1000")], b"{")
    with contextlib.ExitStack() as stack:

        def one_more_is_refused():
            stack.enter_context(server.raw()).send(head)
            return server.figures().get('requests_total{endpoint="/write_file",status="503"}', 0) > 0

        wait_until(one_more_is_refused, "all places to be taken")
        figures = server.figures()
        assert figures["up"] == figures["procd_up"] == 1 and figures["requests_in_progress"] >= 16


def test_few_scrapes_at_once(measured):
    """Each costs the daemons something, and who asks has no token."""
    fcgi_app = measured.daemon("fcgi-app")
    freeze(fcgi_app)
    answers = in_threads(12, lambda _: requests.get(f"{measured.metrics_url}/metrics", timeout=TIMEOUT).status_code)
    with contextlib.suppress(ProcessLookupError):  # guard may have ended it by now
        os.kill(fcgi_app, signal.SIGCONT)
    assert set(answers) == {200, 503} and answers.count(200) >= 4, answers
    wait_until(lambda: requests.get(f"{measured.metrics_url}/metrics", timeout=TIMEOUT).ok and measured.figures()["up"] == 1, "scrapes to be answered again")


# ---- nginx ----


def test_what_nginx_says_of_itself(measured):
    before = measured.figures()
    assert before["nginx_connections_accepted_total"] == before["nginx_connections_handled_total"]
    open_ones = [measured.raw() for _ in range(7)]
    for raw in open_ones[:4]:
        assert raw.exchange(http_request("GET", "/health", [("Host", "x")]))[0] == 200
    open_ones[6].send(b"GET /health HTT")

    def look():
        now = measured.figures()
        return (now["nginx_connections_active"] >= 8 and now["nginx_connections_waiting"] >= 4 and now["nginx_connections_reading"] >= 1
                and now["nginx_connections_writing"] >= 1 and now)

    now = wait_until(look, "nginx to count seven connections and the scrape")
    assert now["nginx_connections_accepted_total"] >= before["nginx_connections_accepted_total"] + 8
    assert now["nginx_connections_accepted_total"] == now["nginx_connections_handled_total"]
    assert now["nginx_requests_total"] >= before["nginx_requests_total"] + 5
    for raw in open_ones:
        raw.socket.close()
    wait_until(lambda: measured.figures()["nginx_connections_active"] <= before["nginx_connections_active"] + 1, "them to be gone")
