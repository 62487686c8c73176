"""The script of docs/nginx.md, as it stands, on a machine of its own as far as it can see: its mounts, network and processes."""

import os
import re
import subprocess

import pytest

from sandbox import BIN, BIG_TIMEOUT, REPOSITORY

# The script is root's and writes to /etc, /var/lib, /run and nginx's logs: all of these are copies in memory.
MACHINE = """
set -eu
ip link set lo up
mount -t tmpfs tmpfs "$1"
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
for directory in /var/lib /var/log /run; do mount -t tmpfs -o mode=755 tmpfs $directory; done
mkdir /var/lib/nginx /var/log/nginx
sh -s
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_two_sandboxes_behind_one_nginx(tmp_path):
    text = (REPOSITORY / "docs/nginx.md").read_text()
    script, = re.findall(r"^```sh\n(#!/bin/sh\n.*?)^```$", text, re.M | re.S)
    environment = {"PATH": f"{BIN}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    machine = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*machine, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("namespaces may not be made")
    done = subprocess.run([*machine, "sh", "-c", MACHINE, "sh", tmp_path], input=script, capture_output=True, text=True, env=environment,
                          timeout=BIG_TIMEOUT, check=False)
    assert done.returncode == 0, done
    assert re.findall(r'"stdout":"(hello from \w+)\\n"', done.stdout) == ["hello from red", "hello from blue"], done
