"""
The life of the package on a machine with systemd and an nginx that is there already (tests/deb/run makes it). The tests
build on each other, in their order: the first that fails ends the run.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import stat
import subprocess
import sys
import time

import pytest
import requests

from sandbox import DEADLINE, Sandbox, alive, all_pids, descriptors, proc_file, proc_stat, wait_until

pytestmark = pytest.mark.skipif("IN_MACHINE" not in os.environ, reason="only in a machine that it may change: make test-deb")

MACHINE = pathlib.Path("/machine")
ETC = pathlib.Path("/etc/nginx-sandbox")
STATE = pathlib.Path("/var/lib/nginx-sandbox")
SECRET = ETC / "default.secret"
SITE = pathlib.Path("/etc/nginx/sites-enabled/site")
STREAM = pathlib.Path("/etc/nginx/modules-enabled/99-stream.conf")  # Debian includes that directory at main level
LOG = pathlib.Path("/var/log/nginx/sandbox.log")
PLAIN_SITE = 'server {{ listen 8080 default_server; location / {{ return 200 "site"; }} {} }}\n'
WHOLE = "nginx-sandbox@default.service"


def run(*command, check=True, **options):
    """What a program prints; it must succeed, unless not `check`: then (exit status, output)."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False, **options)
    if not check:
        return done.returncode, done.stdout
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def blocks(language):
    """Those of docs/operating.md, without the section on what `make install` puts there: the package does not."""
    text = pathlib.Path("/repository/docs/operating.md").read_text()
    text = re.sub(r"^## A server with an nginx of its own, by systemd\n.*?(?=^## )", "", text, flags=re.M | re.S)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


def documented():
    """The commands of docs/operating.md, without their comments."""
    return [re.sub(r"\s+#.*", "", line) for block in blocks("sh") for line in block.splitlines()]


followed = set()


def follow(command, **options):
    """Does what the documentation says."""
    assert command in documented()
    followed.add(command)
    return run("sh", "-c", command, **options)


def unit(daemon, name="default"):
    return f"nginx-sandbox-{daemon}@{name}.service"


def main_pid(name):
    return int(run("systemctl", "show", "--value", "-p", "MainPID", name))


def is_active(name):
    return run("systemctl", "is-active", name, check=False)[1].strip()


def secret(path=SECRET):
    return path.read_text().splitlines()[0]


def sandbox(token=None):
    return Sandbox("http://127.0.0.1:8080", ("127.0.0.1", 3031), token or secret())


def run_status(server):
    """Of a /run on a connection of its own: a reload closes one that is kept, perhaps just when a request comes."""
    return requests.post(f"{server.url}/run", headers={"Authorization": server.authorization}, json={"cmd": "true"}, timeout=DEADLINE).status_code


def site():
    return requests.get("http://127.0.0.1:8080/", timeout=DEADLINE).text


def nginx():
    return main_pid("nginx.service")


def await_health(host="127.0.0.1"):
    wait_until(lambda: requests.get("http://127.0.0.1:8080/health", headers={"Host": host}, timeout=DEADLINE).status_code == 200, "health")


def files():
    """What a package may leave: {path: None} of what is configured, kept or installed."""
    found = set()
    for place in ("/etc", "/var", "/usr", "/lib", "/run/systemd/transient", "/root", "/home", "/opt", "/srv"):
        for directory, names, others in os.walk(place):
            found.update(os.path.join(directory, name) for name in names + others)
    return found


@pytest.fixture(scope="module")
def life():
    """What later tests compare with."""
    return {}


class Job:
    """A background process that counts, and a follower of its log that comes again where it was cut off."""

    def __init__(self, server):
        self.server = server
        answer = server.start("i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done")
        self.id, self.pid = answer["id"], answer["pid"]
        self.seen, self.last, self.cuts = 0, None, 0
        self.stream = server.logs(self.id)

    def read(self, count):
        """Takes `count` more lines, each of them once and in its order, whatever is restarted meanwhile."""
        wanted = self.seen + count
        while self.seen < wanted:
            for event in self.stream:
                if event.name == "log":
                    assert event.data["data"] == str(self.seen)
                    self.seen, self.last = self.seen + 1, event.id
                    if self.seen == wanted:
                        return
            self.cuts += 1
            self.stream.close()
            self.stream = wait_until(self.follow_again, "the stream again")

    def follow_again(self):
        stream = self.server.logs(self.id, headers={"Last-Event-ID": self.last})
        if stream.status == 200:
            return stream
        assert stream.status == 503
        stream.close()
        return None

    def check(self):
        """It is the process that it was."""
        assert alive(self.pid)
        (job,) = [job for job in self.server.processes() if job["id"] == self.id]
        assert job["status"] == "running" and job["pid"] == self.pid
        self.read(3)

    def end(self):
        self.stream.close()
        self.server.kill(self.id)
        wait_until(lambda: not alive(self.pid), "the end of the job")


@pytest.fixture
def job():
    job = Job(sandbox())
    job.read(3)
    yield job
    if alive(job.pid):
        job.end()


def cgroup_of(pid):
    return proc_file(pid, "cgroup").decode().strip().removeprefix("0::")


def runner_of(pid):
    while b"\0--runner\0" not in proc_file(pid, "cmdline"):
        pid = proc_stat(pid)[1]
        assert pid > 1
    return pid


# ---- install ----


def test_a_machine_with_an_nginx_of_its_own(life):
    assert run("systemctl", "is-system-running", check=False)[1].strip() in ("running", "degraded", "starting")
    for default in pathlib.Path("/etc/nginx/sites-enabled").iterdir():
        default.unlink()
    SITE.write_text(PLAIN_SITE.format(""))
    run("systemctl", "restart", "nginx")
    assert site() == "site"
    life["nginx"] = nginx()
    life["files"] = files()


def test_install(tmp_path):
    (tmp_path / "nginx-sandbox_0_all.deb").write_bytes((MACHINE / "old.deb").read_bytes())
    follow("apt-get install ./nginx-sandbox_*.deb", cwd=tmp_path)
    assert run("dpkg-query", "-W", "-f", "${db:Status-Status}", "nginx-sandbox") == "installed"


def test_the_nginx_of_the_machine_goes_on(life):
    assert nginx() == life["nginx"] and site() == "site"
    run("nginx", "-t")


def test_the_secret_is_roots():
    status = SECRET.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600 and status.st_uid == 0
    assert len(secret()) >= 43


def test_the_units_run():
    for name in (WHOLE, unit("procd"), unit("fcgi-app"), unit("terminal"), unit("guard"), "nginx-sandbox-procd@default.socket",
                 "nginx-sandbox-fcgi-app@default.socket", "nginx-sandbox-terminal@default.socket"):
        assert is_active(name) == "active", run("systemctl", "status", name, check=False)[1]
    assert run("systemctl", "is-enabled", "nginx-sandbox.target").strip() == "enabled"
    assert "nginx-sandbox@default.service" in os.listdir("/etc/systemd/system/nginx-sandbox.target.wants")


def test_check_tells_what_is_still_to_do():
    status, output = run("nginx-sandbox", "check", check=False)
    assert status == 1 and output.count("\n- ") == 0 and "- No server block of nginx includes the API.\n" in output, output


def test_what_systemd_and_man_say_of_our_files():
    units = [str(path) for path in pathlib.Path("/lib/systemd/system").glob("nginx-sandbox*")]
    instances = [path.replace("@.", "@default.") for path in units]
    assert run("systemd-analyze", "verify", "--man=no", *instances) == ""
    installed = run("dpkg-query", "-L", "nginx-sandbox")
    for page in pathlib.Path("/repository/docs/man").iterdir():
        assert f"/usr/share/man/man{page.suffix[1:]}/{page.name}.gz\n" in installed
    for name in ("README.md", "docs/api.md", "docs/nginx.md", "examples/vhost.conf", "examples/nginx-sandbox.json"):
        assert f"/usr/share/doc/nginx-sandbox/{name}\n" in installed, name
    assert "/usr/share/nginx-sandbox/systemd" not in installed


def test_the_unit_that_make_install_offers(tmp_path):
    """That of a server with an nginx of its own."""
    unit = tmp_path / "standalone.service"
    unit.write_text(pathlib.Path("/repository/systemd/standalone.service.in").read_text().replace("@PREFIX@", "/usr"))
    assert run("systemd-analyze", "verify", "--man=no", str(unit)) == ""


def test_the_example_of_a_vhost(tmp_path):
    """It is taken as it is, but for the certificate."""
    text = pathlib.Path("/usr/share/doc/nginx-sandbox/examples/vhost.conf").read_text()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=sandbox.example.org", "-keyout", tmp_path / "key",
                    "-out", tmp_path / "pem"], check=True, capture_output=True)
    text = text.replace("/etc/ssl/certs/sandbox.example.org.pem", f"{tmp_path}/pem").replace("/etc/ssl/private/sandbox.example.org.key", f"{tmp_path}/key")
    former = SITE.read_text() if SITE.exists() else None
    SITE.write_text(text)
    try:
        run("nginx", "-t")
    finally:
        SITE.unlink() if former is None else SITE.write_text(former)


def test_two_include_lines(life):
    SITE.write_text(PLAIN_SITE.format("include snippets/nginx-sandbox.conf;"))
    STREAM.write_text("stream { include snippets/nginx-sandbox-stream.conf; }\n")
    follow("nginx -t && systemctl reload nginx")
    await_health()
    assert nginx() == life["nginx"] and site() == "site"


# ---- use ----


def check():
    """(exit status, what is wrong) by nginx-sandbox check."""
    return run("nginx-sandbox", "check", check=False)


def test_nothing_is_wrong():
    assert follow("nginx-sandbox check") == "Nothing is wrong.\n"


@contextlib.contextmanager
def changed(path, text):
    former, times = path.read_text(), path.stat()
    path.write_text(text(former))
    yield
    path.write_text(former)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_check_says_what_is_wrong():
    def says(*texts):
        status, output = check()
        assert status == 1 and all(text in output for text in texts), output

    settings = ETC / "nginx-sandbox.conf"
    with changed(settings, lambda text: text + "PORT=none\n"):
        says("PORT must be a number")
        assert "does not answer" not in check()[1]  # the daemons were not looked for elsewhere because of it
    with changed(settings, lambda text: text.replace("=nginx-sandbox", "=nobody-there")):
        says("nobody-there", "Correct SANDBOX_USER")
    with changed(settings, lambda text: text.replace("=nginx-sandbox", "=www-data")):
        says("the user of commands is nginx's www-data")
    with changed(settings, lambda text: text.replace("SANDBOX_USER", "#SANDBOX_USER")):
        says("commands run as root")
    with changed(settings, lambda text: text + "#\n"):
        says("was changed after nginx-sandbox render", "nginx-sandbox render")
    with changed(SITE, lambda text: text.replace("include", "#include") + "}"):
        says("No server block of nginx includes the API")
    with changed(SITE, lambda text: text + "nonsense;\n"):
        says("nginx does not take its configuration", "nonsense")
    run("nginx-sandbox", "render")
    os.utime(ETC / "nginx/http.conf", (time.time() + 60,) * 2)  # as if it had been some time ago
    says("nginx has not read its configuration since")
    follow("nginx-sandbox render && nginx -t && systemctl reload nginx")
    wait_until(lambda: "nginx has not read" not in check()[1], "a reload that check sees")
    SECRET.chmod(0o644)
    says("default.secret: must belong to root and be readable by root only")
    SECRET.chmod(0o600)
    run("systemctl", "stop", unit("guard"))
    says("default: guard does not run", "systemctl start nginx-sandbox-guard@default.service")
    run("systemctl", "start", unit("guard"))
    os.kill(main_pid(unit("procd")), signal.SIGSTOP)
    says("default: procd does not answer")
    os.kill(main_pid(unit("procd")), signal.SIGCONT)
    run("systemctl", "disable", WHOLE)
    says("default: is not started at boot", "systemctl enable nginx-sandbox@default.service")
    run("systemctl", "enable", WHOLE)
    assert check() == (0, "Nothing is wrong.\n")


def test_the_examples_of_the_readme():
    environment = {**os.environ, "SANDBOX_URL": "http://127.0.0.1:8080", "SANDBOX_PROXY": "127.0.0.1:3031", "SANDBOX_SECRET": secret()}
    output = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "api/test_readme.py", env=environment)
    assert " passed" in output


def test_a_port_is_reached_through_nginx():
    server = sandbox()
    server.start("exec python3 -m http.server --bind 127.0.0.1 9000 --directory /var/lib/nginx-sandbox-home")
    assert server.post("/bind_port", port="9000").status_code == 200

    def reached():
        with contextlib.suppress(requests.ConnectionError):
            return requests.get("http://127.0.0.1:3031/", timeout=DEADLINE).status_code == 200

    wait_until(reached, "what the command serves")
    assert server.post("/unbind_port").status_code == 200
    server.cleanup()


def test_without_the_secret():
    assert sandbox("wrong").post("/run", cmd="true").status_code == 401


def test_who_runs_as_what():
    server = sandbox()
    assert server.shell("id -un; pwd; echo $HOME; echo $SHELL") == "nginx-sandbox\n/var/lib/nginx-sandbox-home\n/var/lib/nginx-sandbox-home\n/bin/sh\n"
    assert server.shell("env | cut -d= -f1 | sort").split() == ["HOME", "LANG", "LOGNAME", "PATH", "PWD", "SHELL", "USER"]
    status = proc_file(main_pid(unit("fcgi-app")), "status").decode()
    user, files = run("id", "-u", "www-data").strip(), run("id", "-u", "nginx-sandbox").strip()
    assert re.search(rf"^Uid:\t{user}\t{user}\t{user}\t{files}$", status, re.M)
    assert re.search(r"^CapBnd:\t0+$", status, re.M) and re.search(r"^CapPrm:\t0+$", status, re.M)
    assert proc_file(main_pid(unit("procd")), "status").decode().split("Uid:\t")[1].startswith("0\t0\t0\t0")


def test_a_command_cannot_reach_the_server():
    server = sandbox()
    for path in (SECRET, STATE / "default", ETC / "nginx/generated/secrets.conf"):
        assert server.run(f"ls {path} && cat {path}/* {path}")["code"] != 0
    assert server.run(f"kill -9 {main_pid(unit('fcgi-app'))} {main_pid(unit('procd'))} {main_pid(WHOLE)}")["code"] != 0


def test_no_process_shows_the_secret():
    told = b"".join(proc_file(int(pid), name) for pid in os.listdir("/proc") if pid.isdigit() for name in ("environ", "cmdline"))
    assert secret().encode() not in told
    assert secret() not in run("journalctl", "-b", "--no-pager")


def test_commands_are_in_the_cgroup_of_the_sandbox(job):
    assert WHOLE in cgroup_of(job.pid)
    with contextlib.ExitStack() as stack:  # a burst, for which there are not enough runners
        for _ in range(20):
            stream = stack.enter_context(sandbox().stream("echo $$; sleep 60"))
            assert WHOLE in cgroup_of(int(stream.next().data["data"]))


def test_status_tells_of_daemons_and_jobs(job):
    output = run("nginx-sandbox", "status")
    assert output.startswith("default: running\n")
    for daemon in ("procd", "fcgi-app", "terminal", "guard"):
        assert f"  {daemon:9} pid {main_pid(unit(daemon))}, restarts " in output
    assert re.search(r"jobs +[1-9]\d* running", output)


def test_a_limit_of_the_whole():
    follow("systemctl set-property nginx-sandbox@default.service MemoryMax=2G")
    assert run("systemctl", "show", "--value", "-p", "MemoryMax", WHOLE).strip() == str(2 << 30)
    run("systemctl", "revert", WHOLE)


def test_limits_of_commands():
    """The unit's cgroup gives its controllers to those of commands."""
    if "memory" not in pathlib.Path("/sys/fs/cgroup/cgroup.controllers").read_text().split():
        pytest.skip("the kernel has no memory controller of cgroup version 2 here: VM=1")
    server = sandbox()
    eat = "python3 -c \"x = b'x' * 300000000\""
    assert server.run_with_facts(eat, memory_max=64 << 20)[1]["reason"] == "oom"
    assert server.run(eat)["code"] == 0
    with changed(ETC / "nginx-sandbox.conf", lambda text: text + "SANDBOX_MEMORY_MAX=64m\n"):
        run("systemctl", "restart", WHOLE)
        await_health()
        assert server.run_with_facts(eat)[1]["reason"] == "oom"
    run("systemctl", "restart", WHOLE)
    await_health()
    run("systemctl", "set-property", "--runtime", WHOLE, "MemoryMax=128M")
    assert server.run_with_facts(eat)[1]["reason"] in ("oom", "signal")
    assert is_active(WHOLE) == is_active(unit("procd")) == "active"
    run("systemctl", "set-property", "--runtime", WHOLE, "MemoryMax=infinity")


# ---- restarts ----


def test_a_restart_of_procd_touches_no_job(job):
    go = pathlib.Path("/tmp/procd-has-restarted")
    with sandbox().stream(f"echo begun; until [ -e {go} ]; do sleep 0.05; done; echo ended") as command:
        assert command.next().data["data"] == "begun"
        before = main_pid(unit("procd"))
        run("systemctl", "restart", unit("procd"))
        assert main_pid(unit("procd")) not in (0, before)
        go.touch()
        assert command.next().data["data"] == "ended"
    job.check()
    assert job.cuts == 0
    assert sandbox().shell("echo on") == "on\n"


def test_a_killed_procd_comes_again(job):
    before = main_pid(unit("procd"))
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: main_pid(unit("procd")) not in (0, before), "another procd")
    assert sandbox().shell("echo on") == "on\n"
    job.check()
    assert job.cuts == 0


def test_a_restart_of_fcgi_app_is_a_pause(job):
    run("systemctl", "restart", unit("fcgi-app"))
    job.check()
    assert job.cuts == 1


def test_a_connection_starts_a_stopped_procd():
    """The guard waits with it, too."""
    run("systemctl", "stop", unit("procd"))
    assert sandbox().shell("echo on") == "on\n"
    wait_until(lambda: is_active(unit("procd")) == "active", "an active procd")


def test_a_connection_starts_a_stopped_fcgi_app():
    """But not beside guard, which listens on the same socket and answers instead."""
    run("systemctl", "stop", unit("fcgi-app"))
    answer = requests.get("http://127.0.0.1:8080/health", timeout=DEADLINE)
    assert answer.status_code == 503 and is_active(unit("fcgi-app")) == "inactive"
    run("systemctl", "stop", unit("guard"))
    assert requests.get("http://127.0.0.1:8080/health", timeout=DEADLINE).status_code == 200
    wait_until(lambda: is_active(unit("fcgi-app")) == "active", "an active fcgi-app")
    run("systemctl", "start", unit("guard"))


def test_what_dead_runners_leave_ends_and_nothing_else(job):
    """Runners die whose procd has died before: what they leave comes to process 1, among the services of the machine. One of
    these bears the mark of commands (procd/process/mark.h), another is named like a runner."""
    service = ["systemd-run", "--quiet", "--collect", "-p", "Restart=no", "-p", "KillMode=process"]
    run(*service, "--unit=marked", "-p", "LimitLOCKS=1000", "sh", "-c", "(setsid sleep 86400.5 &) ; exec sleep 86400.4")
    run(*service, "--unit=named", "-p", "LimitLOCKS=1000", "bash", "-c", "exec -a procd sleep 86400.6")
    others = wait_until(lambda: len(found := pids_with("86400.5", "86400.4", "86400.6")) == 3 and found, "the services")
    started = sandbox().start("(setsid env -i sleep 86400.1 &) ; setsid sleep 86400.2 & exec sleep 86400.3")
    orphans = wait_until(lambda: len(found := pids_with("86400.1", "86400.2", "86400.3")) == 3 and found, "the tree")
    runner = runner_of(started["pid"])
    os.kill(main_pid(unit("procd")), signal.SIGKILL)
    wait_until(lambda: proc_stat(runner)[1] == 1, "the runner to be an orphan")
    os.kill(runner, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in orphans), "the end of what the runner has left")
    wait_until(lambda: sandbox().status(started["id"]) == "failed", "the job to be known as lost")
    assert sandbox().shell("echo on") == "on\n"
    assert all(alive(pid) for pid in others)
    job.check()
    run("systemctl", "kill", "--signal=KILL", "marked.service", "named.service", check=False)
    for pid in others:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def pids_with(*needles):
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit()
            and proc_file(int(pid), "cmdline").split(b"\0")[-2:-1] and proc_file(int(pid), "cmdline").split(b"\0")[-2].decode() in needles]


def test_a_restart_of_the_whole_begins_anew(job):
    left = sandbox().shell("setsid sleep 86400.7 >/dev/null 2>&1 & echo $!")
    run("systemctl", "restart", WHOLE)
    assert not alive(job.pid) and not pids_with("86400.7"), left
    await_health()
    assert sandbox().processes() == []
    assert not run("systemctl", "list-units", "--plain", "--no-legend", "--state=failed", "nginx-sandbox*").strip()


def test_a_killed_holder_begins_anew(job):
    os.kill(main_pid(WHOLE), signal.SIGKILL)
    wait_until(lambda: not alive(job.pid), "the end of all jobs")
    wait_until(lambda: is_active(WHOLE) == "active" and is_active(unit("procd")) == is_active(unit("fcgi-app")) == "active", "another start")
    await_health()
    assert sandbox().processes() == []


def test_a_reload_of_nginx_cuts_no_stream(job):
    follow("nginx -t && systemctl reload nginx")
    with sandbox().stream("echo new") as stream:
        assert stream.next().data["data"] == "new"
    job.check()
    assert job.cuts == 0


def test_a_stop_and_a_start(job):
    """Even if a client reads, and a command ignores SIGTERM. A command that does not ignore it ends by it."""
    heard = pathlib.Path("/tmp/heard-sigterm")
    polite = sandbox().start(f"trap 'touch {heard}; exit' TERM; echo begun; while :; do sleep 0.1; done")
    with sandbox().logs(polite["id"]) as stream:
        assert stream.next().data["data"] == "begun"
    stubborn = sandbox().start("trap '' TERM; echo begun; while :; do sleep 0.1; done")
    with sandbox().logs(stubborn["id"]) as stream:
        assert stream.next().data["data"] == "begun"
        follow("systemctl stop nginx-sandbox@default")
        list(stream.events())  # to its end
    assert not alive(stubborn["pid"]) and not alive(job.pid)
    assert heard.exists()
    heard.unlink()
    assert requests.get("http://127.0.0.1:8080/health", timeout=DEADLINE).status_code == 503
    assert run("nginx-sandbox", "status", check=False)[0] == 3
    assert site() == "site"
    follow("systemctl start nginx-sandbox@default")
    await_health()
    assert not run("systemctl", "list-units", "--plain", "--no-legend", "--state=failed", "nginx-sandbox*").strip()


# ---- metrics, logs ----

DAEMONS = ("procd", "fcgi-app", "terminal", "guard")


@pytest.fixture
def settings():
    """The file of those of all, which is as it was afterwards."""
    path = ETC / "nginx-sandbox.conf"
    with changed(path, lambda text: text):
        yield path
    run("nginx-sandbox", "render")
    run("systemctl", "reload", "nginx")


def figures(text):
    """{name with labels: number} of what Prometheus gets."""
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))}


def restarts():
    """Three reports of it must agree."""
    full = sandbox().get("/health?full=1").json()["daemons"]
    scraped = figures(follow("curl -fsS http://127.0.0.1:3032/metrics/default"))
    assert set(full) == set(DAEMONS)
    by_full = {name: full[name]["restarts"] for name in DAEMONS}
    assert by_full == {name: scraped[f'nginx_sandbox_daemon_restarts_total{{daemon="{name}"}}'] for name in DAEMONS}
    assert by_full == {name: int(count) for name, count in re.findall(r"^  (\S+) +pid \d+, restarts (\d+),", run("nginx-sandbox", "status"), re.M)}
    return by_full


def test_metrics_tell_the_truth(settings):
    """What systemd's daemons are: their starts, memory and descriptors. What nobody can know here is not there."""
    follow("echo SANDBOX_METRICS_LISTEN=127.0.0.1:3032 >>/etc/nginx-sandbox/nginx-sandbox.conf")
    follow("nginx-sandbox render && nginx -t && systemctl reload nginx")
    wait_until(lambda: run("curl", "-fsS", "http://127.0.0.1:3032/metrics", check=False)[0] == 0, "the listener")
    run("systemctl", "restart", WHOLE)
    await_health()
    wait_until(lambda: is_active(unit("guard")) == "active", "guard")
    count = dict.fromkeys(DAEMONS, 0)
    assert restarts() == count
    for name in DAEMONS:
        before = main_pid(unit(name))
        os.kill(before, signal.SIGKILL)
        count[name] += 1
        wait_until(lambda: main_pid(unit(name)) not in (0, before) and is_active(unit(name)) == "active", f"another {name}")
        run("systemctl", "restart", unit(name))
        count[name] += 1
        await_health()
        wait_until(lambda: restarts() == count, f"two restarts of {name}")
    sandbox().run("true")
    job = sandbox().start("sleep 86400")
    full = sandbox().get("/health?full=1").json()
    scraped = figures(follow("curl -fsS http://127.0.0.1:3032/metrics/default"))
    assert full["uptime_ms"] is None
    assert not [name for name in scraped if "uptime" in name or '"nginx"' in name]
    assert scraped["nginx_sandbox_up"] == scraped["nginx_sandbox_procd_up"] == scraped["nginx_sandbox_running_jobs"] == full["queue"]["jobs"] == 1
    assert scraped['nginx_sandbox_runs_total{outcome="exit"}'] >= 1 and scraped["nginx_sandbox_nginx_connections_active"] >= 1
    for name in DAEMONS:
        pid = main_pid(unit(name))
        told = full["daemons"][name]
        memory = int(re.search(r"^VmRSS:\s+(\d+) kB$", proc_file(pid, "status").decode(), re.M)[1])
        opened = len(os.listdir(f"/proc/{pid}/fd"))
        assert told["pid"] == pid and 0.5 < told["rss_kb"] / memory < 2 and abs(told["descriptors"] - opened) <= 10 and told["threads"] >= 1, (name, told, memory, opened)
        label = f'{{daemon="{name}"}}'
        assert 0.5 < scraped["nginx_sandbox_daemon_resident_memory_bytes" + label] / 1024 / memory < 2
        assert abs(scraped["nginx_sandbox_daemon_open_fds" + label] - opened) <= 10 and scraped["nginx_sandbox_daemon_threads" + label] >= 1
    sandbox().kill(job["id"])
    run("systemctl", "stop", unit("guard"))
    assert set(sandbox().get("/health?full=1").json()["daemons"]["guard"].values()) == {None, 2}
    run("systemctl", "start", unit("guard"))
    run("systemctl", "stop", WHOLE)
    assert figures(run("curl", "-fsS", "http://127.0.0.1:3032/metrics/default"))["nginx_sandbox_up"] == 0
    run("systemctl", "start", WHOLE)
    await_health()


def test_a_full_disk_stops_no_daemon():
    """There is no room for the byte that counts a start. What was not counted is not known."""
    files = [STATE / f"default/service/{name}/starts" for name in DAEMONS]
    for name, starts in zip(DAEMONS, files):
        starts.unlink()
        starts.symlink_to("/dev/full")
        run("systemctl", "restart", unit(name))
        assert is_active(unit(name)) == "active"
    for starts in files:
        starts.unlink()
    await_health()
    told = sandbox().get("/health?full=1").json()["daemons"]
    assert {name: (daemon["pid"], daemon["restarts"]) for name, daemon in told.items()} == {name: (main_pid(unit(name)), None) for name in DAEMONS}


def test_logs(settings, job):
    """One request id from the client to both logs; and a rotation that loses no line."""
    (line,) = [block for block in blocks("nginx") if "access_log" in block]
    site_before = SITE.read_text()
    SITE.write_text(PLAIN_SITE.format(f"{line} include snippets/nginx-sandbox.conf;"))
    follow("echo LOG_LEVEL=info >>/etc/nginx-sandbox/nginx-sandbox.conf")
    follow("nginx-sandbox render")
    follow("nginx -t && systemctl reload nginx")
    follow("systemctl restart nginx-sandbox-procd@default nginx-sandbox-fcgi-app@default")
    job.check()
    wait_until(LOG.exists, "the log")
    query = next(command for command in documented() if command.startswith("jq "))

    def ask(identifier):
        """A /run, when its line is there."""
        answer = sandbox().call("POST", "/run", {"cmd": "exit 7"}, headers={"X-Request-ID": identifier})
        assert answer.status_code == 200

        def look():
            status, output = follow(query, check=False)  # a line may not be there as a whole yet
            return status == 0 and [line for line in map(json.loads, output.splitlines()) if line[1] == identifier]

        return wait_until(look, identifier)

    wait_until(lambda: site() == "site" and "/" in LOG.read_text(), "the new workers")
    ((_, _, status, seconds, code, memory),) = ask("told-by-the-client")
    assert (status, code) == (200, 7) and seconds >= 0 and memory > 0
    find = next(command for command in documented() if "REQUEST_ID" in command)
    environment = {**os.environ, "REQUEST_ID": "told-by-the-client"}
    wait_until(lambda: run("sh", "-c", find, check=False, env=environment)[0] == 0, "the line of fcgi-app")
    assert "/run ended: reason=exit code=7" in follow(find, env=environment)
    journal = next(command for command in documented() if command.endswith("-p info"))
    assert "[told-by-the-client] /run ended" in follow(journal)
    assert "/run ended" not in run("sh", "-c", journal.replace("-p info", "-p notice"))

    identifiers = [f"before-{number}" for number in range(5)]
    for identifier in identifiers:
        ask(identifier)
    follow("logrotate --force /etc/logrotate.d/nginx")
    old = LOG.with_name("sandbox.log.1")
    assert old.exists()

    def reopened():
        links = [link for pid in all_pids() if (stat := proc_stat(pid)) and stat[1] == nginx() for link in descriptors(pid)]
        return str(LOG) in links and str(old) not in links

    wait_until(reopened, "the workers to open it anew")
    ask("after")
    assert all(f'"request_id":"{identifier}"' in old.read_text() for identifier in identifiers)
    SITE.write_text(site_before)
    run("systemctl", "reload", "nginx")


# ---- upgrade ----


def test_an_upgrade_ends_no_job(job, life):
    before = {daemon: main_pid(unit(daemon)) for daemon in ("procd", "fcgi-app", "terminal", "guard")}
    whole = main_pid(WHOLE)
    run("dpkg", "-i", str(MACHINE / "new.deb"))
    assert run("dpkg-query", "-W", "-f", "${Version}", "nginx-sandbox").endswith("+1")
    assert all(main_pid(unit(daemon)) not in (0, pid) for daemon, pid in before.items())
    assert main_pid(WHOLE) == whole and nginx() == life["nginx"]
    job.check()
    assert job.cuts <= 2  # fcgi-app is restarted, and a request may meet the old one


# ---- secrets, more sandboxes ----


def test_a_rotation_of_the_secret(job, life):
    old = sandbox()
    output = follow("nginx-sandbox secret rotate")
    new = sandbox()
    assert new.secret != old.secret and SECRET.read_text().splitlines() == [new.secret, old.secret]
    assert stat.S_IMODE(SECRET.stat().st_mode) == 0o600 and new.secret not in output
    wait_until(lambda: run_status(new) == 200, "the new secret")
    assert run_status(old) == 200
    follow("nginx-sandbox secret retire")
    assert SECRET.read_text().splitlines() == [new.secret]
    wait_until(lambda: run_status(old) == 401, "the end of the former secret")
    assert run_status(new) == 200
    job.server = new
    job.check()
    assert job.cuts == 0 and nginx() == life["nginx"]


def test_a_rotation_that_nginx_does_not_take():
    """It is reported, and nginx goes on with its configuration."""
    former = sandbox()
    settings = ETC / "nginx-sandbox.conf"
    text = settings.read_text()
    settings.write_text(text + "SANDBOX_MAX_BODY=nonsense\n")
    status, output = run("nginx-sandbox", "secret", "rotate", check=False)
    assert status == 1 and "SANDBOX_MAX_BODY" in output and secret() == former.secret
    settings.write_text(text)
    assert former.post("/run", cmd="true").status_code == 200


def test_a_secret_that_is_a_credential():
    token, drop_in = pathlib.Path("/root/token"), pathlib.Path("/etc/systemd/system/nginx-sandbox-render.service.d/secret.conf")
    former = sandbox()
    token.write_text("of-a-credential\n")
    drop_in.parent.mkdir()
    drop_in.write_text(f"[Service]\nLoadCredential=default.secret:{token}\n")
    run("systemctl", "daemon-reload")
    for expected, other in (("of-a-credential", former.secret), (former.secret, "of-a-credential")):
        follow("systemctl start nginx-sandbox-render && nginx -t && systemctl reload nginx")
        wait_until(lambda: sandbox(expected).post("/run", cmd="true").status_code == 200, "the secret")
        wait_until(lambda: sandbox(other).post("/run", cmd="true").status_code == 401, "the end of the other secret")
        drop_in.write_text("")
        run("systemctl", "daemon-reload")
    token.unlink()
    drop_in.unlink()
    drop_in.parent.rmdir()
    run("systemctl", "daemon-reload")


def test_a_second_sandbox():
    follow("nginx-sandbox secret init box")
    follow("echo PROXY_PORT=3033 >/etc/nginx-sandbox/box.conf")
    follow(r"printf '%s\n' 'box.example box;' 'default default;' >>/etc/nginx-sandbox/map.conf")
    follow("nginx-sandbox render && nginx -t && systemctl reload nginx")
    follow("systemctl enable --now nginx-sandbox@box.service")
    wait_until(lambda: requests.get("http://127.0.0.1:8080/health", headers={"Host": "box.example"}, timeout=DEADLINE).status_code == 200, "health of the other")
    call = {"json": {"cmd": "pwd"}, "timeout": DEADLINE}
    tokens = {name: {"Authorization": f"Bearer {secret(ETC / f'{name}.secret')}", "Host": host} for name, host in (("box", "box.example"), ("default", "localhost"))}
    assert requests.post("http://127.0.0.1:8080/run", headers=tokens["box"], **call).json()["stdout"] == "/var/lib/nginx-sandbox-home\n"
    assert requests.post("http://127.0.0.1:8080/run", headers={**tokens["box"], "Host": "localhost"}, **call).status_code == 401
    assert requests.post("http://127.0.0.1:8080/run", headers=tokens["default"], **call).status_code == 200
    assert re.findall(r"^(\S+): running$", run("nginx-sandbox", "status"), re.M) == ["box", "default"]


def test_all_that_is_documented_was_done():
    assert set(documented()) == followed


# ---- remove, purge ----


def test_a_removal_leaves_nginx_as_it_was(job, life):
    run("dpkg", "-r", "nginx-sandbox")
    assert not alive(job.pid)
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and b"nginx-sandbox" in proc_file(int(pid), "cmdline")]
    assert not run("systemctl", "list-units", "--plain", "--no-legend", "nginx-sandbox*").strip()
    run("nginx", "-t")
    assert nginx() == life["nginx"] and site() == "site"
    run("systemctl", "restart", "nginx")  # with its include lines
    assert site() == "site"


def test_it_can_come_back():
    run("dpkg", "-i", str(MACHINE / "old.deb"))
    await_health()
    run("dpkg", "-r", "nginx-sandbox")


def test_a_purge_leaves_what_the_operator_made(life):
    output = run("dpkg", "-P", "nginx-sandbox")
    assert str(SITE) in output  # its include line must go
    left = {path for path in files() - life["files"] if not path.startswith(("/var/log/", "/var/cache/", "/var/lib/dpkg/", "/var/lib/apt/", "/var/lib/systemd/", "/var/lib/logrotate/"))}
    operators = {"/etc/systemd/system.control", "/etc/nginx-sandbox", "/etc/nginx-sandbox/box.secret", "/etc/nginx-sandbox/box.conf", str(STREAM),
                 "/etc/systemd/system/nginx-sandbox.target.wants", "/etc/systemd/system/nginx-sandbox.target.wants/nginx-sandbox@box.service"}
    accounts = {"/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/.pwd.lock"}
    assert left - accounts <= operators, left - accounts - operators
    assert not [name for name in os.listdir("/var/lib/systemd/deb-systemd-helper-enabled") if "nginx-sandbox" in name]
    STREAM.unlink()
    SITE.write_text(PLAIN_SITE.format(""))
    run("nginx", "-t")
    assert site() == "site"
