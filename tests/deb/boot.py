"""
A machine that is started with the package already there, installed where no systemd ran (tests/deb/run): all is up by itself.
"""

import os
import subprocess

import pytest

from sandbox import wait_until

pytestmark = pytest.mark.skipif("IN_MACHINE" not in os.environ, reason="only in a machine of its own: make test-deb")


def systemctl(*arguments):
    done = subprocess.run(["systemctl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    return done.stdout.strip()


@pytest.mark.parametrize("unit", ["nginx-sandbox.target", "nginx-sandbox@default.service", "nginx-sandbox-procd@default.socket",
                                  "nginx-sandbox-fcgi-app@default.socket", "nginx-sandbox-procd@default.service",
                                  "nginx-sandbox-fcgi-app@default.service", "nginx-sandbox-terminal@default.socket",
                                  "nginx-sandbox-terminal@default.service", "nginx-sandbox-guard@default.service", "nginx.service"])
def test_it_is_up(unit):
    wait_until(lambda: systemctl("is-active", unit) == "active", unit)


def test_procd_answers():
    output = subprocess.run(["nginx-sandbox", "status"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert output.startswith("default: running")


def test_nothing_was_left_out_for_a_cycle():
    journal = subprocess.run(["journalctl", "-b", "--no-pager"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "nginx-sandbox" in journal and "ordering cycle" not in journal
