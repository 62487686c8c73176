"""SANDBOX_HOME: commands have a home that they may write to, whatever their user is."""

import os
import pathlib
import pwd

import pytest

from sandbox import REPOSITORY, Server, make_directory

pytestmark = [pytest.mark.host, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def workspace():
    path = make_directory()
    os.chmod(path, 0o1777)
    yield path
    for entry in pathlib.Path(path).iterdir():
        entry.unlink()
    os.rmdir(path)


def says(settings):
    with Server(settings) as server:
        return server.shell("cd && touch made 2>/dev/null; echo $HOME; cd - >/dev/null; pwd")


def account_with_home():
    """Somebody whose home is there and his own."""
    for entry in pwd.getpwall():
        if entry.pw_uid and entry.pw_name not in ("www-data", "nginx", "nobody") and os.path.isdir(entry.pw_dir) and os.stat(entry.pw_dir).st_uid == entry.pw_uid:
            return entry
    return None


@pytest.mark.parametrize("user", ["4711:4711", "4711", "nobody:4711"])
def test_a_user_without_a_home(workspace, user):
    """A number without an account, and an account whose home is not there: by the commands' own hand something is made there."""
    assert says({"SANDBOX_USER": user, "SANDBOX_HOME": workspace}) == f"{workspace}\n{workspace}\n"
    assert os.stat(f"{workspace}/made").st_uid == (65534 if "nobody" in user else 4711)


def test_a_user_with_a_home_keeps_it(workspace):
    account = account_with_home()
    if account is None:
        pytest.skip("no account with a home here")
    with Server({"SANDBOX_USER": account.pw_name, "SANDBOX_HOME": workspace}) as server:
        assert server.shell("echo $HOME") == f"{account.pw_dir}\n"


@pytest.mark.parametrize("home, kept", [("/no/such/home", False), (None, False), ("relative", False), ("/root", True)])
def test_the_servers_own_home(workspace, home, kept):
    settings = {"SANDBOX_HOME": workspace, "SANDBOX_USER": None}
    prefix = ["env", "-u", "HOME"] if home is None else ["env", f"HOME={home}"]
    with Server(settings, prefix=prefix) as server:
        assert server.shell("echo $HOME") == f"{home if kept else workspace}\n"


def test_without_it_homes_are_as_they_were(workspace):
    assert says({"SANDBOX_USER": "4711:4711"}) == "/\n/\n"


def test_the_image_sets_it():
    """Nobody can commit or ship the secret file of the example in docs/docker.md by mistake."""
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    assert "SANDBOX_HOME=/workspace" in dockerfile and "WORKDIR /workspace" in dockerfile
    assert "/secret" in (REPOSITORY / ".gitignore").read_text().split()
    assert "secret" in (REPOSITORY / ".dockerignore").read_text().split()
