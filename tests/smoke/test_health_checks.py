"""The commands by which engines ask whether a server is well: those of the Dockerfile and of deploy/, against a real server."""

import json
import os
import re
import subprocess

import pytest
import yaml

from foreground import LAUNCHER, Foreground
from sandbox import REPOSITORY, Port

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()


def checks():
    """{where: the words of the command}"""
    found = {"Dockerfile": json.loads(re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", DOCKERFILE, re.M)[1])}
    for path in [REPOSITORY / "docker-compose.yml", *(REPOSITORY / "deploy").rglob("*.yml"), *(REPOSITORY / "deploy").rglob("*.yaml")]:
        for document in yaml.safe_load_all(path.read_text()):
            for name, service in ((document or {}).get("services") or {}).items():
                if "healthcheck" in service:
                    kind, *words = service["healthcheck"]["test"]
                    assert kind == "CMD", path
                    found[f"{path.name}, {name}"] = words
    return found


@pytest.mark.parametrize("where", checks())
def test_no_proxy_is_asked(where):
    """Containers often have http_proxy in their environment, where 127.0.0.1 is somebody else."""
    nobody = Port()
    proxies = {name: f"http://127.0.0.1:{nobody.number}" for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy")}
    with Foreground(LAUNCHER, {"SANDBOX_SECRET": "smoke"}) as server:
        words = [re.sub(r"127\.0\.0\.1:\d+/", f"127.0.0.1:{server.port}/", word) for word in checks()[where]]
        environment = {**os.environ, "PORT": str(server.port), "no_proxy": "", **proxies}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        server.end()
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    nobody.free()


def test_the_image_is_well_soon():
    """An engine asks for the first time after --start-interval, not after --interval."""
    options = dict(re.findall(r"--([a-z-]+)=(\S+)", re.search(r"^HEALTHCHECK (.*)", DOCKERFILE, re.M)[1]))
    assert options["start-interval"] == "500ms" and options["start-period"].endswith("s")
