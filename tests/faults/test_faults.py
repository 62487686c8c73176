"""
Each call of each daemon fails once while each endpoint is asked (cases.py). Whichever it was: the answer is whole or
tells its error, nothing is half-done, no daemon ends, the next request is served, and no descriptor is lost.

`make faults` has every call fail; `make test` every SANDBOX_FAULTS_STEP-th, beginning with a random one.
"""

import os
import pathlib
import pwd
import random
import subprocess
import tempfile

import pytest

from cases import AS_USER, CASES, KNOWN, OF_FCGI_APP, RunAsUser, WriteAtOnce
from plan import INTERRUPT, LIBFCGI, SHORTEN, Plans
from sandbox import BIN, DEADLINE, Server, alive, descriptors, proc_file, user_ids, wait_until

BUILD = pathlib.Path(os.environ.get("SANDBOX_BUILD", pathlib.Path(__file__).parents[2] / "build"))
LIBRARY = BUILD / "tests/faults/libfault.so"
STEP = int(os.environ.get("SANDBOX_FAULTS_STEP", "40"))
MOST = 500  # calls of one request; more means that it does not end
RUNNERS = 4  # that wait in a server which has nothing to do

PARTS = 16  # that the calls of a start are divided into: a restart takes its time

pytestmark = [pytest.mark.host, pytest.mark.slow]


class Faulty:
    """A server whose daemons follow our plans. guard is down: its questions would be counted as ours."""

    def __init__(self, settings=None):
        self.home = tempfile.TemporaryDirectory(prefix="nxs-faults-")
        os.chmod(self.home.name, 0o777)
        self.plans = Plans(self.home.name, LIBRARY)
        self.server = Server({**self.plans.settings, **(settings or {})})
        self.server.supervise("guard", "d")
        self.server.settle(10)
        self.fresh = self.connections() if STEP == 1 else None

    def close(self):
        with self.home:
            now = self.connections() if STEP == 1 else None
            self.server.close()
            assert now == self.fresh, "sockets are lost"

    def pids(self):
        return {name: self.server.daemon(name) for name in ("fcgi-app", "procd")}

    def healthy(self):
        """The next command runs; who could not accept a connection for want of descriptors may refuse one."""
        answers = [self.server.post("/run", cmd="echo healthy")]
        if answers[0].status_code == 503:
            answers.append(self.server.post("/run", cmd="echo healthy"))
        assert answers[-1].status_code == 200 and answers[-1].json()["stdout"] == "healthy\n", [answer.text for answer in answers]

    def said(self):
        return self.server.launch.stderr.text

    # -- what the daemons hold --

    def lasting(self):
        """The descriptors that come and go with no connection."""
        return {name: sorted(link for link in descriptors(pid) if not link.startswith("socket:"))
                for name, pid in self.pids().items()}

    def settle(self, before):
        try:
            wait_until(lambda: self.lasting() == before, "the descriptors of before")
        except AssertionError as error:
            pytest.fail(f"{error}\nbefore: {before}\nnow:    {self.lasting()}")

    def sockets(self, name):
        return sum(link.startswith("socket:") for link in descriptors(self.server.daemon(name)))

    def runners(self):
        return sum(proc_file(pid, "cmdline").startswith(b"procd\0--runner\0") for pid in self.server.launch.tree())

    def drop_connections_of_nginx(self):
        old = [pid for pid in self.server.nginx_pids() if pid != self.server.daemon("nginx")]
        subprocess.run(["s6-svc", "-h", str(self.server.run_dir / "service/nginx")], check=True)
        wait_until(lambda: not any(map(alive, old)), "the old workers to go", 4 * DEADLINE)

    def connections(self):
        """
        The sockets of fcgi-app and of procd that are no connection between the two, nor with nginx or a runner: a new
        procd shows how many of fcgi-app's were kept ones with the old.
        """
        wait_until(lambda: self.runners() == RUNNERS, "no more runners than a fresh server has", 4 * DEADLINE)
        self.drop_connections_of_nginx()
        with_procd, of_procd = self.sockets("fcgi-app"), self.sockets("procd") - RUNNERS
        self.server.back("procd", self.server.kill_daemon("procd"))
        self.drop_connections_of_nginx()
        alone = self.sockets("fcgi-app") - 1  # the one that it keeps with the new one
        return alone, of_procd - (with_procd - alone)


@pytest.fixture(scope="module")
def faulty():
    faulty = Faulty()
    yield faulty
    faulty.close()


@pytest.fixture(scope="module")
def faulty_with_user():
    """Its commands and its fcgi-app's files are another user's."""
    if os.geteuid() != 0:
        pytest.skip("only root can run commands as another user")
    faulty = Faulty({"SANDBOX_USER": "games", "SANDBOX_LIMIT_NOFILE": "500", "PATH": "/usr/local/bin:/usr/bin:/bin"})
    yield faulty
    faulty.close()


@pytest.fixture
def work():
    with tempfile.TemporaryDirectory(prefix="nxs-faults-work-") as path:
        os.chmod(path, 0o777)
        yield path


def source(role, plan):
    """Where in our code the call is that failed."""
    program = BIN / ("fcgi-app" if role == "fcgi-app" else "procd")
    found = subprocess.run(["addr2line", "-e", program, hex(plan.caller - 1)], capture_output=True, text=True, check=False)
    return os.path.relpath(found.stdout.split()[0]) if plan.caller and found.returncode == 0 else "a library"


@pytest.mark.parametrize(("role", "kind"), CASES, ids=[f"{role}-{kind.__name__}" for role, kind in CASES])
def test_each_call_fails(faulty, work, role, kind):
    each_fails(faulty, work, role, kind, STEP)


@pytest.mark.parametrize(("role", "kind", "name"), KNOWN, ids=[f"{role}-{kind.__name__}-{name}" for role, kind, name in KNOWN])
def test_known_calls_fail(faulty, work, role, kind, name):
    each_fails(faulty, work, role, kind, 1, name)


@pytest.mark.parametrize(("role", "kind"), AS_USER, ids=[role for role, _ in AS_USER])
def test_each_call_fails_with_a_user(faulty_with_user, work, role, kind):
    each_fails(faulty_with_user, work, role, kind, STEP)


@pytest.mark.parametrize("name", ["setrlimit", "setgroups", "setresgid", "setresuid"])
def test_a_command_that_cannot_be_its_user(faulty_with_user, work, name):
    """It does not run, and the answer says what failed."""
    case, plan = RunAsUser(faulty_with_user.server, work), faulty_with_user.plans["runner"]
    case.prepare()
    plan.arm(1, only=name)
    answer = case.request()
    assert plan.disarm() == 1
    assert (answer.status, answer.body) == (500, {"error": "Cannot limit the command: Operation not permitted", "error_code": "cannot_start"})
    assert not case.ran.exists()
    case.check(case.request())


@pytest.mark.parametrize("name", ["capget", "capset"])
def test_a_runner_that_cannot_prepare(faulty_with_user, work, name):
    """It says why, and runs nothing: another does. A new procd starts new runners."""
    server, plan, said = faulty_with_user.server, faulty_with_user.plans["runner"], len(faulty_with_user.said())
    case = RunAsUser(server, work)
    case.prepare()
    plan.arm(1, only=name)
    server.back("procd", server.kill_daemon("procd"))
    wait_until(lambda: plan.fired, "a runner to be started")
    plan.disarm()
    wait_until(lambda: "runner: cannot limit commands: Operation not permitted" in faulty_with_user.said()[said:], "a word of it")
    case.check(case.request())


def each_fails(faulty, work, role, kind, step, only=""):
    case, plan = kind(faulty.server, work), faulty.plans[role]
    case.prepare()
    case.check(case.request())  # without a fault; what is kept is there from now on
    faulty.healthy()
    before, pids = faulty.lasting(), faulty.pids()
    for at in range(random.randint(1, step), MOST, step):
        case.prepare()
        plan.arm(at, only=only)
        answer = None
        try:
            answer = case.request()
        finally:
            fired = plan.disarm()
            print(f"{plan} in {source(role, plan)}: {answer!r:.300}" if fired else "nothing failed")
        case.check(answer)
        faulty.healthy()
        assert faulty.pids() == pids, f"a daemon ended:\n{faulty.said()[-3000:]}"
        if not fired:
            break
    else:
        pytest.fail("there is no end of calls")
    faulty.server.cleanup()
    faulty.settle(before)


@pytest.mark.parametrize("kind", (*OF_FCGI_APP, WriteAtOnce), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("mode", [INTERRUPT, SHORTEN], ids=["interrupted", "short"])
def test_is_transparent(faulty, work, mode, kind):
    """No client notices calls that are interrupted, or reads and writes that do a part."""
    case = kind(faulty.server, work)
    for every in (2, 3) if STEP == 1 else (random.choice((2, 3)),):
        case.prepare()
        for role in ("fcgi-app", "procd", "runner"):
            faulty.plans[role].arm(every, mode=mode)
        try:
            answer = case.request()
        finally:
            for role in ("fcgi-app", "procd", "runner"):
                faulty.plans[role].disarm()
        if isinstance(answer, list):
            assert answer[-1][0] == "complete", answer
        else:
            assert answer.body is not None and answer.status in (200, 201), answer
        case.check(answer)
    faulty.server.cleanup()


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("role", ["fcgi-app", "procd"])
def test_each_call_of_a_start_fails(faulty, role, part):
    each_of_a_start_fails(faulty, role, part)


@pytest.mark.parametrize("part", range(PARTS))
def test_each_call_of_a_start_fails_with_a_user(faulty_with_user, part):
    """No fcgi-app that serves is anybody else than it should be."""
    each_of_a_start_fails(faulty_with_user, "fcgi-app", part, lambda: is_right(faulty_with_user))


def is_right(faulty):
    """Whether fcgi-app has of users and rights what it should. Its filter is a second lock, without which it may start."""
    (uid, gid), worker = user_ids(faulty.server.settings["SANDBOX_USER"]), pwd.getpwnam("www-data")
    lines = proc_file(faulty.server.daemon("fcgi-app"), "status").decode().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return lines and {name: found[name].split() for name in ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")} == {
        "Uid": [*[str(worker.pw_uid)] * 3, str(uid)], "Gid": [*[str(worker.pw_gid)] * 3, str(gid)], "Groups": [str(gid)],
        **{f"Cap{kind}": ["0" * 16] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")}, "NoNewPrivs": ["1"]}


def each_of_a_start_fails(faulty, role, part, is_good=lambda: True):
    """It serves without what failed, or ends with a word; then the supervisor starts another. No job is lost."""
    if STEP > 1 and part > 0:
        pytest.skip("make faults does all")
    server, plan = faulty.server, faulty.plans[role]
    job = server.start("sleep 86400")["id"]
    plan.arm(1 << 30)
    server.back(role, server.kill_daemon(role))
    plan.disarm()
    for at in range(1 + part + PARTS * random.randrange(STEP), plan.calls + 1, PARTS * STEP):
        said = len(faulty.said())
        old = server.kill_daemon(role)
        plan.arm(at)
        new = wait_until(lambda: server.daemon(role) not in (None, old) and server.daemon(role), f"{role} to be started")
        server.healthy()
        fired = plan.disarm()
        where = f"{plan} in {source(role, plan)}" if fired else "nothing failed"
        assert alive(new) or faulty.said()[said:].count(f"{role}: "), f"{role} ended without a word: {where}"
        wait_until(is_good, f"an fcgi-app as it should be: {where}")  # one that had begun to serve may have ended, and root starts another
        wait_until(lambda: job in [process["id"] for process in server.processes() if process["status"] == "running"], where)
    assert server.kill(job).status_code == 200
    server.cleanup()


# What fcgi-app does to become the user, in its order; capabilities are dropped in two steps.
BECOMING = (("setgroups", 1), ("setresgid", 1), ("setresuid", 1), ("capset", 1), ("setfsgid", 1), ("setfsuid", 1), ("capset", 2))


@pytest.mark.parametrize(("name", "at"), BECOMING, ids=[f"{name}-{at}" for name, at in BECOMING])
def test_an_fcgi_app_that_cannot_be_its_user(faulty_with_user, name, at):
    """It ends before it has served anybody, and says why; the next one is as the first."""
    server, plan, said = faulty_with_user.server, faulty_with_user.plans["fcgi-app"], len(faulty_with_user.said())
    plan.arm(at, only=name)
    server.kill_daemon("fcgi-app")
    server.healthy()
    assert plan.disarm() == 1
    assert faulty_with_user.said()[said:].count("fcgi-app: SANDBOX_USER: cannot change user: ") == 1
    assert is_right(faulty_with_user)


def test_libfcgi_aborts(faulty):
    """
    The exception: libfcgi ends the process when it gets no memory (Malloc() in its fcgiapp.c asserts). What is told and
    left is what a killed fcgi-app leaves: an error, and nothing else.
    """
    plan = faulty.plans["fcgi-app"]
    for at in range(random.randint(1, STEP), MOST, STEP):
        old = faulty.server.daemon("fcgi-app")
        plan.arm(at, kinds=LIBFCGI)
        response = faulty.server.get("/list_processes")
        if not plan.disarm():
            break
        assert response.status_code in (200, 503) and response.json(), response.text  # a GET may have been repeated by nginx
        faulty.server.back("fcgi-app", old)


# ---- the tool itself ----

# What fault.c does not wrap. These do not fail, or not of a cause that is not in the program itself:
INFALLIBLE = set("""
    clock_gettime getenv getpid getppid getsid signal sigaddset sigemptyset sigfillset pthread_sigmask mallopt madvise munmap free
    pthread_attr_destroy pthread_attr_setdetachstate pthread_attr_setstacksize pthread_mutex_clocklock pthread_mutex_lock pthread_mutex_trylock pthread_mutex_unlock
    pthread_once sem_clockwait pthread_cond_clockwait pthread_cond_signal pthread_cond_wait pthread_join sem_destroy sem_init sem_post sem_wait unsetenv
    eventfd_read eventfd_write time timegm
    posix_spawn_file_actions_destroy posix_spawnattr_destroy posix_spawnattr_setflags posix_spawnattr_setsigmask dirfd fclose closedir rewinddir
    getopt_long _exit close_range closefrom gmtime_r strftime fwrite posix_spawn_file_actions_addclosefrom_np posix_spawn_file_actions_adddup2
    getegid geteuid getuid umask sysconf setenv ferror
    strerror strerror_r sigabbrev_np qsort qsort_r exit abort environ stderr optarg optind
""".split())
# They compute, or allocate by malloc(3), or read a stream whose read(2) is the C library's own.
PURE = ("str", "stp", "mem", "SHA1", "SHA256", "__str", "__stp", "__mem", "__ctype", "__isoc", "__asprintf", "__vasprintf", "__snprintf", "__vsnprintf", "snprintf", "__getdelim",
        "__fprintf", "__sprintf", "inet_ntop", "asprintf", "vasprintf", "vsnprintf")
STARTUP = ("_ITM_", "__gmon", "__libc", "__cxa", "__errno", "__stack_chk", "__assert", "__progname")


def symbols(path, *options):
    listing = subprocess.run(["nm", "-D", *options, path], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in listing.splitlines()}


def test_every_call_is_known():
    """Who calls something new says here, or in fault.c, whether it can fail."""
    wrapped = symbols(LIBRARY, "--defined-only")
    for program in ("fcgi-app", "procd"):
        called = symbols(BIN / program, "--undefined-only")
        if any(name in (BIN / program).read_bytes() for name in (b"__asan_init", b"__tsan_init", b"__gcov_exit")):
            pytest.skip("other calls than those of the ordinary build")
        called = {name for name in called if not name.startswith((*PURE, *STARTUP, "FCGX_", "cJSON_", "pcre2_"))}
        assert called <= wrapped | INFALLIBLE, f"{program}: {sorted(called - wrapped - INFALLIBLE)}"
