"""The subcommands of a machine with the package, as far as they need none (tests/deb has the rest)."""

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import stat
import subprocess

import pytest

from sandbox import BIN, in_threads

PROGRAM = str(BIN / "nginx-sandbox")
SUBCOMMANDS = ("render", "check", "status", "secret")
INTERNAL_SUBCOMMANDS = ("claim", "nginx", "supervise", "hold")


def run(*arguments):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def etc(tmp_path):
    tmp_path.chmod(0o755)
    return tmp_path


@contextlib.contextmanager
def opened(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def secret(etc, action, *name):
    return run("secret", "--etc", str(etc), action, *name)


def test_a_wrong_subcommand_lists_those_there_are():
    status, output, error = run("nonsense")
    assert status == 2 and output == ""
    assert re.findall(r"^  (\w+) ", error, re.M) == list(SUBCOMMANDS)


@pytest.mark.parametrize("arguments", [["secret"], ["secret", "nonsense"], ["secret", "init", "a", "b"], ["secret", "--none", "init"],
                                       ["hold"], ["hold", "a", "b"], ["status", "--none"], ["check", "more"]])
def test_a_wrong_command_line(arguments):
    status, output, error = run(*arguments)
    assert status == 2 and output == "" and f"usage: nginx-sandbox {arguments[0]}" in error


@pytest.mark.parametrize("name", [*SUBCOMMANDS, *INTERNAL_SUBCOMMANDS])
def test_help(name):
    """Operators find theirs in --help, and none that only the server's own services and units call."""
    status, output, error = run(name, "--help")
    assert status == 0 and output.startswith(f"usage: nginx-sandbox {name} ") and not error
    assert (f"\n  {name} " in run("--help")[1]) == (name in SUBCOMMANDS)


def test_a_short_request_for_help():
    assert run("render", "-h") == run("render", "--help")


def test_where_the_proxy_of_a_sandbox_listens(etc):
    """SANDBOX_PROXY_LISTEN of each, in the configuration of an nginx that opens it itself."""
    for name in ("default", "box"):
        assert secret(etc, "init", name)[0] == 0
    (etc / "default.conf").write_text("SANDBOX_PROXY_LISTEN=127.0.0.1,[::1]\n")
    (etc / "box.conf").write_text("SANDBOX_PROXY_LISTEN=unix:/run/box.sock\nPROXY_PORT=3099\n")
    assert run("render", "--etc", str(etc)) == (0, "", "")
    lines = re.findall(r"listen (.*?) backlog", (etc / "nginx/generated/proxies.conf").read_text())
    assert lines == ["unix:/run/box.sock", "127.0.0.1:3031", "[::1]:3031 ipv6only=on"]
    (etc / "box.conf").write_text("SANDBOX_PROXY_LISTEN=localhost\nPROXY_PORT=3099\n")
    status, _, error = run("render", "--etc", str(etc))
    assert status == 1 and f"{etc}/box.conf: SANDBOX_PROXY_LISTEN must be" in error


def test_a_name_in_a_file_that_is_near_to_a_setting(etc):
    secret(etc, "init")
    (etc / "nginx-sandbox.conf").write_text("SANDBOX_MAX_BODI=1m\n")
    (etc / "default.conf").write_text("SANDBOX_MAX_RUN=1\n")
    status, _, error = run("render", "--etc", str(etc))
    assert status == 0
    assert error == f"""nginx-sandbox: warning: {etc}/nginx-sandbox.conf: SANDBOX_MAX_BODI is no setting and does nothing: did you mean SANDBOX_MAX_BODY?
nginx-sandbox: warning: {etc}/default.conf: SANDBOX_MAX_RUN is no setting and does nothing: did you mean SANDBOX_MAX_RUNS?
"""


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "../a", "a" * 33, "map", "nginx-sandbox"])
def test_names_that_are_none(etc, name):
    assert run("secret", "--etc", str(etc), "--", "init", name)[0] == 1
    assert not list(etc.iterdir())


def test_init_makes_a_secret_once(etc):
    assert secret(etc, "init") == (0, "", "")
    file = etc / "default.secret"
    text = file.read_text()
    assert len(text) == 65 and text.endswith("\n") and stat.S_IMODE(file.stat().st_mode) == 0o600
    assert secret(etc, "init") == (0, "", "") and file.read_text() == text
    assert secret(etc, "init", "box")[0] == 0 and (etc / "box.secret").read_text() != text


def test_rotate_and_retire(etc):
    file = etc / "default.secret"
    secret(etc, "init")
    seen = file.read_text().splitlines()
    for _ in range(2):
        status, output, error = secret(etc, "rotate")
        assert (status, error) == (0, "") and "secret retire default" in output
        lines = file.read_text().splitlines()
        assert len(lines) == 2 and lines[1] == seen[-1] and lines[0] not in seen
        assert not any(line in output for line in lines)
        seen.append(lines[0])
    assert (etc / "nginx" / "http.conf").exists()
    assert secret(etc, "retire")[0] == 0 and file.read_text() == seen[-1] + "\n"
    assert secret(etc, "retire")[0] == 0 and file.read_text() == seen[-1] + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in etc.iterdir()) == [".lock", "default.secret", "nginx"]


def test_rotations_at_once(etc):
    """One after the other: nginx gets the two secrets that the file has in the end."""
    secret(etc, "init")
    done = in_threads(8, lambda _: secret(etc, "rotate"))
    assert all(status == 0 and not error for status, _, error in done)
    tokens = (etc / "default.secret").read_text().splitlines()
    salt, *digests = re.search(r'_default "(.*)"', (etc / "nginx/generated/secrets.conf").read_text())[1].split()
    assert digests == [base64.urlsafe_b64encode(hashlib.sha256(f"{salt}Bearer {token}".encode()).digest()).decode().rstrip("=") for token in tokens]
    assert len(digests) == 2


def test_who_can_read_the_settings_keeps_nobody_out(etc):
    """A command that runs on the machine of the package could lock what it can open."""
    secret(etc, "init")
    with contextlib.ExitStack() as files:
        for path in (etc, *etc.iterdir()):
            if stat.S_IMODE(path.stat().st_mode) & 0o004:
                fcntl.flock(files.enter_context(opened(path)), fcntl.LOCK_EX)
        assert secret(etc, "rotate")[0] == 0


def test_a_last_line_without_an_end(etc):
    (etc / "default.secret").write_text("given")
    (etc / "default.secret").chmod(0o600)
    assert secret(etc, "rotate")[0] == 0
    assert (etc / "default.secret").read_text().splitlines()[1:] == ["given"]


@pytest.mark.parametrize("text", ["\ufeffgiven\r\nformer\r\n", "\n\ngiven\nformer\n", "given\r\n"])
def test_a_file_as_editors_leave_it(etc, text):
    """Its mark and its empty lines are no secret, and not in the way of the one that is."""
    (etc / "default.secret").write_text(text, newline="")
    (etc / "default.secret").chmod(0o600)
    assert run("render", "--etc", str(etc))[0] == 0
    assert secret(etc, "rotate")[0] == 0
    new, given = (etc / "default.secret").read_text().splitlines()
    assert given == "given" and len(new) == 64
    assert secret(etc, "retire")[0] == 0 and (etc / "default.secret").read_text().splitlines() == [new]
    (etc / "default.secret").write_text(text, newline="")
    assert secret(etc, "retire")[0] == 0 and (etc / "default.secret").read_text().splitlines() == ["given"]


def test_a_rotation_keeps_to_its_directories(etc):
    secret(etc, "init")
    assert run("secret", "--etc", str(etc), "--state", str(etc / "state"), "rotate")[0] == 0
    assert f"unix:{etc}/state/default/fcgi-app.sock" in (etc / "nginx/generated/sandboxes.conf").read_text()


def test_what_cannot_be_rendered_leaves_the_secrets(etc):
    secret(etc, "init")
    before = (etc / "default.secret").read_text()
    (etc / "nginx-sandbox.conf").write_text("PORT=none\n")
    status, _, error = secret(etc, "rotate")
    assert status == 1 and "PORT must be a number" in error and "secrets of default are unchanged" in error
    assert (etc / "default.secret").read_text() == before


def test_retire_without_a_secret(etc):
    status, _, error = secret(etc, "retire")
    assert status == 1 and "default.secret: No such file or directory" in error


def test_status_where_nothing_runs(tmp_path):
    assert run("status", "--state", str(tmp_path)) == (3, "No sandbox has been started.\n", "")
    (tmp_path / "box").mkdir()
    status, output, _ = run("status", "--state", str(tmp_path))
    assert status == 3 and output.startswith("box: does not run")
    assert run("status", "--state", str(tmp_path), "box")[0] == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can see all that check looks at")
def test_check_without_an_installation(etc):
    status, output, error = run("check", "--etc", str(etc), "--state", str(etc))
    assert status == 1 and "there is no sandbox" in error
    assert "- The settings cannot be used" in output


def test_hold_without_a_delegated_cgroup(tmp_path):
    """What the unit gives it is a must."""
    environment = {"PATH": os.environ["PATH"], "SANDBOX_CGROUP": "off"}
    done = subprocess.run([PROGRAM, "hold", "--state", str(tmp_path), "box"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "SANDBOX_CGROUP must not be off under systemd" in done.stderr
