"""Runs every C test program (build/tests/unit/test_*) as one test: its output is shown when it fails."""

import os
import pathlib
import subprocess

import pytest

BUILD = pathlib.Path(os.environ.get("SANDBOX_BUILD", pathlib.Path(__file__).parents[2] / "build"))
SOURCES = sorted(pathlib.Path(__file__).parent.glob("test_*.c"))


@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_program(name):
    done = subprocess.run([BUILD / "tests/unit" / name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", timeout=600, check=False)
    assert done.returncode == 0, f"{name}: status {done.returncode}\n{done.stdout}"
