"""Pool mode: a sandbox without a secret, and the first token that gets it."""

import json
import os
import pathlib
import re
import shutil
import signal
import stat
import subprocess
import tempfile

import pytest

from sandbox import BIN, DEADLINE, alive, http_request, in_threads, mounting_is_allowed, proc_file, wait_until

pytestmark = pytest.mark.host


@pytest.fixture
def place(tmp_path_factory):
    """Where the claim is kept: the server's own."""
    return tmp_path_factory.mktemp("claim") / "claim"


@pytest.fixture
def start(make_server, place):
    """A function that starts servers of a pool, whose secret is the client's."""
    def start(**settings):
        return make_server({"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(place), "SANDBOX_SECRET": None, **settings})

    return start


def ask(server, token, path="/list_processes", method="GET", body=None):
    headers = {} if token is None else {"Authorization": token}

    return server.call(method, path, body, token=False, headers=headers)


def claimer(server):
    def look():
        return [pid for pid in server.launch.tree() if b"/bin/nginx-sandbox\0claim\0" in proc_file(pid, "cmdline")]

    return wait_until(look, "the service")[0]


def nginx_workers(server):
    return [pid for pid in server.launch.tree() if proc_file(pid, "cmdline").startswith(b"nginx: worker process\0")]


def in_force(server):
    """nginx compares by itself, as soon as there has been an answer after the claim: the service need not be there."""
    assert (server.run_dir / "claimed").exists()
    held = claimer(server)
    os.kill(held, signal.SIGSTOP)
    try:
        assert ask(server, "Bearer nobody's").status_code == 401
    finally:
        os.kill(held, signal.SIGCONT)


def test_the_first_token_gets_it(start, place, tmp_path):
    server = start()
    for _ in range(3):
        assert server.get("/health", token=False).json() == {"status": "ok"}
        assert ask(server, "Bearer health", "/health").status_code == 200
        assert ask(server, "Bearer health", "/health?full=1").status_code == 401
    for nothing in (None, "", "Bearer", "Bearer ", "bearer", "Bearer\tx", "Basic x", "x", "Bearerx", "Basic bearer x"):
        answer = ask(server, nothing)
        assert answer.status_code == 401 and answer.json()["error"] and answer.headers["WWW-Authenticate"]
    assert ask(server, None, "/nginx_sandbox_claim").status_code == 401
    assert not place.exists()

    first = "Bearer " + server.secret
    answer = ask(server, first, "/run", "POST", {"cmd": f"touch {tmp_path}/ran; echo first"})
    assert (answer.status_code, answer.json()["stdout"]) == (200, "first\n")
    assert ask(server, "Bearer second").status_code == 401
    for _ in range(2):
        assert ask(server, first).status_code == 200
        for other in ("Bearer second", first + "x", first[:-1], first.swapcase(), None):
            assert ask(server, other).status_code == 401
        assert ask(server, first, "/health?full=1").status_code == 200
        assert ask(server, "bearer  " + server.secret).status_code == 200
        in_force(server)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600 and re.fullmatch(r"1 \S{22} \S{22} \S{43}\n", place.read_text())
    assert server.secret not in place.read_text() and os.listdir(place.parent) == [place.name]
    for pid in server.launch.tree():
        assert server.secret.encode() not in proc_file(pid, "cmdline") + proc_file(pid, "environ")


def test_it_stays_whose_it_is(start, place):
    """Over a stop and a start, and over kills of everything."""
    server = start()
    assert ask(server, "Bearer mine").status_code == 200
    server.stop()
    claim = place.read_text()
    server.boot()
    assert ask(server, "Bearer other").status_code == 401 and ask(server, "Bearer mine").status_code == 200
    assert not (server.run_dir / "service/claim").exists()
    old = server.kill_daemon("nginx")
    server.back("nginx", old)
    assert ask(server, "Bearer other").status_code == 401 and ask(server, "Bearer mine").status_code == 200
    assert place.read_text() == claim


@pytest.mark.parametrize("end", ["kill", "reload"])
def test_nginx_starts_again_after_a_claim(start, end):
    """In the server that was claimed: its new workers know the token."""
    server = start()
    assert ask(server, "Bearer mine").status_code == 200
    old = nginx_workers(server)
    if end == "kill":
        server.back("nginx", server.kill_daemon("nginx"))
    else:
        server.reload_nginx()
    wait_until(lambda: (new := nginx_workers(server)) and not set(new) & set(old), "new workers")
    server.healthy()
    assert ask(server, "Bearer other").status_code == 401 and ask(server, "Bearer mine").status_code == 200
    in_force(server)


@pytest.mark.parametrize("leftover", ["claimed.new", "claimed"])
def test_a_digest_that_cannot_be_put_in_place(start, leftover):
    """Whose the sandbox is has been decided: the service goes on to answer, and tries again each time."""
    server = start()
    (server.run_dir / leftover).mkdir()
    for _ in range(3):
        assert ask(server, "Bearer mine").status_code == 200 and ask(server, "Bearer other").status_code == 401
    assert f"{server.run_dir}/claimed: " in server.launch.stderr.text
    (server.run_dir / leftover).rmdir()
    assert ask(server, "Bearer other").status_code == 401
    in_force(server)
    assert ask(server, "Bearer mine").status_code == 200


def test_a_body_that_is_too_large_claims_nothing(start, place):
    server = start(SANDBOX_MAX_BODY="1k")
    answer = ask(server, "Bearer early", "/write_file", "POST", b"x" * 2000)
    assert answer.status_code == 413 and "SANDBOX_MAX_BODY" in answer.json()["error"]
    assert ask(server, None, "/write_file", "POST", b"x" * 2000).status_code == 401
    assert not place.exists()
    chunked = ask(server, "Bearer mine", "/write_file", "POST", iter([b"x" * 2000]))  # nobody knows before
    assert chunked.status_code == 413 and place.exists()
    assert ask(server, "Bearer early").status_code == 401 and ask(server, "Bearer mine").status_code == 200


def on_another_disk(directory):
    """A command prefix: /var/lib is this directory, for that command alone."""
    return ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" /var/lib && shift && exec "$@"', "sh", str(directory)]


@pytest.mark.skipif(os.geteuid() != 0 or not mounting_is_allowed(), reason="needs root and mounts")
@pytest.mark.parametrize("path", [None, ""])
def test_the_default_place(make_server, open_directory, path):
    """Made where it is not there yet; and the next start finds it."""
    server = make_server({"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": path, "SANDBOX_SECRET": None}, prefix=on_another_disk(open_directory))
    directory = open_directory / "nginx-sandbox"
    assert os.listdir(directory) == [] and stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert ask(server, "Bearer mine").status_code == 200
    assert os.listdir(directory) == ["pool.claim"] and stat.S_IMODE((directory / "pool.claim").stat().st_mode) == 0o600
    server.stop()
    server.boot()
    assert ask(server, "Bearer other").status_code == 401 and ask(server, "Bearer mine").status_code == 200
    assert not (server.run_dir / "service/claim").exists()


def test_a_default_place_that_cannot_be(home):
    """As an ordinary user the setting is needed: the line names it."""
    if os.geteuid() != 0:
        assert_refused({"SANDBOX_AUTH_MODE": "pool"}, home, "SANDBOX_SECRET_PATH")
        return
    if not mounting_is_allowed():
        pytest.skip("needs mounts")
    assert_refused({"SANDBOX_AUTH_MODE": "pool"}, home, "SANDBOX_SECRET_PATH: /var/lib/nginx-sandbox/pool.claim: ", prefix=on_another_disk("/proc/self"))


def forget(server, place):
    """Nobody has the sandbox any more. (A platform starts the server anew for that; nginx need not learn of it.)"""
    place.unlink()
    (server.run_dir / "claimed").unlink()
    old = claimer(server)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: claimer(server) != old, "another service")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="needs nodejs")
@pytest.mark.parametrize("claims", [10] * 5)
def test_a_claim_closes_no_connection(start, place, claims):
    """50 of them in all, each with four clients that keep their connections: not a request is lost, and no worker of nginx is replaced."""
    clients, count = 4, 40
    server = start()
    workers = None
    for number in range(claims):
        if number > 0:
            workers = workers or nginx_workers(server)  # by now all of them have been started
            forget(server, place)
        done = subprocess.run(["node", pathlib.Path(__file__).with_name("kept_clients.js"), str(server.port), f"token-{number}", str(clients), str(count)],
                              capture_output=True, text=True, check=True, timeout=12 * DEADLINE)
        assert json.loads(done.stdout) == {"answers": {"200": clients * count}, "lost": [], "connections": clients}, number
        assert ask(server, f"Bearer token-{number - 1}").status_code == 401 and ask(server, f"Bearer token-{number}").status_code == 200
    assert nginx_workers(server) == workers


def test_hundreds_at_once(start, place):
    """Exactly one of them wins, with all of its requests; and what the others asked for is not done."""
    server = start(SANDBOX_MAX_FAILED_AUTH="1000000")
    os.chmod(server.home, 0o777)  # for the commands
    count = 300

    def one(number):
        with server.raw(12 * DEADLINE) as raw:
            body = b'{"cmd":"echo %d >>%s/ran"}' % (number, str(server.home).encode())
            return raw.exchange(http_request("POST", "/run", [("Host", "x"), ("Authorization", f"Bearer token-{number // 2}"),
                                                              ("Content-Length", str(len(body)))], body))[0]

    statuses = in_threads(count, one)
    winners = {number // 2 for number in range(count) if statuses[number] == 200}
    assert len(winners) == 1 and set(statuses) == {200, 401}
    winner, = winners
    assert [statuses[2 * winner], statuses[2 * winner + 1]] == [200, 200]
    assert sorted(map(int, pathlib.Path(server.home, "ran").read_text().split())) == [2 * winner, 2 * winner + 1]
    in_force(server)
    for number in range(count // 2):
        assert ask(server, f"Bearer token-{number}").status_code == (200 if number == winner else 401)


@pytest.mark.parametrize("token", ["x", "y" * 4096, 'a"b\\c$d;{}#', "pässwörd-✓", "two  words"])
def test_any_token(start, token):
    server = start()

    def status(value):
        return ask(server, b"Bearer " + value).status_code

    right = token.encode()
    for _ in range(2):
        assert status(right) == 200
        assert status(right + b"x") == 401 and (len(right) == 1 or status(right[:-1]) == 401)
        in_force(server)


def test_a_token_that_is_too_long_claims_nothing(start, place):
    server = start()
    with server.raw() as raw:
        assert raw.exchange(http_request("GET", "/list_processes", [("Host", "x"), ("Authorization", "Bearer " + "x" * 4097)]))[0] == 401
    assert not place.exists()
    assert ask(server, "Bearer good").status_code == 200


def test_the_check_comes_before_the_body(start):
    """A late client is refused before a byte of its body is read, and takes nothing of fcgi-app."""
    server = start()
    assert ask(server, "Bearer mine").status_code == 200
    in_force(server)
    with server.raw() as raw:
        raw.send(http_request("POST", "/write_file", [("Host", "x"), ("Authorization", "Bearer late"), ("Content-Length", "1000000")]))
        assert raw.reader.readline().startswith(b"HTTP/1.1 401 ")


def test_a_service_that_dies(start, place):
    """Before the claim, and right after it, when nginx does not know yet."""
    server = start()
    old = claimer(server)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: not alive(old), "its end")  # what it accepted on its way would be lost
    assert ask(server, "Bearer mine").status_code == 200  # (it waits for the next one)
    assert claimer(server) != old
    in_force(server)
    # As if it had died between the two.
    (server.run_dir / "claimed").unlink()
    old = claimer(server)
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: (server.run_dir / "claimed").exists(), "the next one to tell nginx")
    in_force(server)
    assert ask(server, "Bearer mine").status_code == 200
    assert ask(server, "Bearer other").status_code == 401


def test_a_claim_that_cannot_be_kept(start, place, tmp_path):
    """Nobody gets the sandbox, and nothing is run."""
    server = start()
    place.parent.rename(place.parent.with_name("away"))
    answer = ask(server, "Bearer mine", "/run", "POST", {"cmd": f"touch {tmp_path}/ran"})
    assert answer.status_code == 500 and answer.json()["error"]
    place.parent.with_name("away").rename(place.parent)
    assert not (tmp_path / "ran").exists() and not place.exists()
    assert ask(server, "Bearer other").status_code == 200


GOOD = f"1 {'s' * 22} {'m' * 22} {'h' * 43}\n"


@pytest.mark.parametrize("settings, words", [
    ({"SANDBOX_SECRET": "x"}, "SANDBOX_SECRET"), ({"SANDBOX_SECRET_FILE": "/etc/hostname"}, "SANDBOX_SECRET_FILE"),
    ({"SANDBOX_AUTH_MODE": "pond"}, "SANDBOX_AUTH_MODE"), ({"SANDBOX_AUTH_MODE": "Pool"}, "SANDBOX_AUTH_MODE"),
    ({"SANDBOX_SECRET_PATH": "relative"}, "SANDBOX_SECRET_PATH"), ({"SANDBOX_SECRET_PATH": "/none/such"}, "SANDBOX_SECRET_PATH"),
    ({"SANDBOX_SECRET_PATH": "/proc/x"}, "SANDBOX_SECRET_PATH"), ({"SANDBOX_SECRET_PATH": "{run}/claim"}, "run directory"),
])
def test_what_is_refused_at_the_start(place, home, settings, words):
    assert_refused({"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(place), **settings}, home, words)


@pytest.mark.parametrize("content", ["", "\n", "garbage", GOOD[:-1], GOOD + "\n", GOOD + GOOD, GOOD.replace("1", "2", 1), GOOD.replace("m", "", 1),
                                     GOOD.replace("h", "!", 1), GOOD[:40], "x" * 10000, GOOD.replace(" ", "\0")])
def test_a_damaged_claim(place, home, content):
    """Refused, and left as it is: it may be somebody's."""
    place.write_text(content)
    place.chmod(0o600)
    assert_refused({"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(place)}, home, "damaged")
    assert place.read_text() == content


@pytest.mark.parametrize("spoil", [lambda path: path.chmod(0o644), lambda path: (path.unlink(), path.mkdir()),
                                   lambda path: (path.rename(path.with_name("other")), path.symlink_to("other"))],
                         ids=["readable", "a directory", "a link"])
def test_a_claim_that_is_not_ours_alone(place, home, spoil):
    place.write_text(GOOD)
    place.chmod(0o600)
    spoil(place)
    words = f"SANDBOX_SECRET_PATH: {place}: must be a file of the user who starts the server, and readable by that user only (chmod 600)"
    assert_refused({"SANDBOX_AUTH_MODE": "pool", "SANDBOX_SECRET_PATH": str(place)}, home, words)


@pytest.mark.parametrize("precious", [lambda path: os.link(path.with_name("precious"), path), lambda path: path.symlink_to("precious"), os.mkfifo],
                         ids=["a link", "a symbolic link", "a pipe"])
def test_what_has_the_name_of_the_draft(start, place, precious):
    """Is taken away, and neither written to nor waited for."""
    place.with_name("precious").write_text("precious")
    precious(place.with_name("claim.new"))
    server = start()
    assert ask(server, "Bearer mine").status_code == 200
    assert place.with_name("precious").read_text() == "precious" and sorted(os.listdir(place.parent)) == ["claim", "precious"]


@pytest.fixture
def home():
    """A directory that nginx's workers may enter."""
    path = tempfile.mkdtemp(prefix="nxs-pool-")
    os.chmod(path, 0o755)
    yield pathlib.Path(path)
    shutil.rmtree(path)


def assert_refused(settings, home, words, prefix=()):
    run = home / "run"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_")}
    environment.update({"SANDBOX_RUN_DIR": str(run), **settings})
    environment = {name: value.replace("{run}", str(run)) for name, value in environment.items() if value is not None}
    run.mkdir()
    done = subprocess.run([*prefix, BIN / "nginx-sandbox", "--without-nginx"], env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert done.returncode != 0 and done.stdout == "" and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
