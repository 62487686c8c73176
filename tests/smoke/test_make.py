"""What the Makefile does beside building, with stand-ins for the programs that it calls."""

import os
import re
import subprocess

import pytest

from sandbox import REPOSITORY


@pytest.fixture
def stand_in(tmp_path):
    """A function that puts a program of this name and text first in PATH; the environment to run with."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "SANDBOX_")) and name not in ("PORT", "PROXY_PORT")}
    environment["PATH"] = f"{tmp_path}/bin:{environment['PATH']}"
    (tmp_path / "bin").mkdir()

    def make(name, text):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    return make, environment


def run(environment, *command):
    return subprocess.run(command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("settings, ports", [({}, (3030, 3031)), ({"PORT": "8080", "PROXY_PORT": "8081"}, (8080, 8081))])
def test_docker_run_publishes_the_port_that_the_server_prints(stand_in, tmp_path, settings, ports):
    make, environment = stand_in
    make("docker", f'echo "$@" >>{tmp_path}/called')
    done = run({**environment, **settings, "SANDBOX_SECRET": "hidden"}, "make", "docker-run")
    assert done.returncode == 0, done
    call = (tmp_path / "called").read_text().splitlines()[-1].split()
    port, proxy_port = ports
    assert call[0] == "run" and "hidden" not in call
    assert [f"{port}:{port}", f"{proxy_port}:{proxy_port}"] == [call[i + 1] for i, word in enumerate(call) if word == "-p"]
    assert f"PORT={port}" in call and f"PROXY_PORT={proxy_port}" in call


def test_either_of_two_packages_will_do(stand_in):
    """The paths of systemd's units are in systemd itself on Debian 12, in systemd-dev later."""
    make, environment = stand_in
    make("id", "echo 1000")
    make("sudo", "exit 1")
    for installed in ("one", "other"):
        make("dpkg-query", f"echo ' {installed}=installed '")
        assert run(environment, "tools/install-packages", "one|other").returncode == 0
    make("dpkg-query", "echo ' none=installed '")
    done = run(environment, "tools/install-packages", "one|other")
    assert done.returncode == 1 and 'install-packages "one|other"\'' in done.stderr


def test_the_makefile_is_short_and_help_lists_every_target(stand_in):
    """An installer reads the Makefile alone: building and installing. Each target with a description is in the list, once."""
    _, environment = stand_in
    assert len((REPOSITORY / "Makefile").read_text().splitlines()) <= 150
    described = [name for file in ("Makefile", "packages.mk", "tests/tests.mk")
                 for name in re.findall(r"^## ([a-z-]+): ", (REPOSITORY / file).read_text(), re.M)]
    assert len(described) > 30 and len(described) == len(set(described))
    done = run(environment, "make", "help")
    assert re.findall(r"^  ([a-z-]+)  *\S", done.stdout, re.M) == described


def test_the_build_names_files_and_v_shows_commands(stand_in, tmp_path):
    _, environment = stand_in
    build = ("make", f"BUILD={tmp_path}/build", f"BIN={tmp_path}/out", f"{tmp_path}/build/common/utf8.o")
    assert run(environment, *build).stdout == "CC common/utf8.o\n"
    (tmp_path / "build/common/utf8.o").unlink()
    assert re.fullmatch(r"cc .* -c -o \S+/utf8\.o common/utf8\.c\n", run(environment, *build, "V=1").stdout)
