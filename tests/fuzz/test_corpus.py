"""Replays the corpus and the regressions of every fuzz target, and beginnings of each input, under AddressSanitizer and UBSan."""

import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
BUILD = pathlib.Path(os.environ.get("SANDBOX_BUILD", HERE.parents[1] / "build"))
TARGETS = sorted(source.stem.removeprefix("fuzz_") for source in HERE.glob("fuzz_*.c"))


@pytest.mark.parametrize("target", TARGETS)
def test_corpus(target, tmp_path):
    inputs = sorted(path for place in ("corpus", "regressions") for path in (HERE / place / target).glob("*"))
    assert inputs
    environment = dict(os.environ, TMPDIR=str(tmp_path), UBSAN_OPTIONS="print_stacktrace=1")
    done = subprocess.run([BUILD / "address-undefined/tests/fuzz" / f"fuzz_{target}", *inputs], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", timeout=300, check=False)
    # The names of the inputs come first; the last one is the one that failed.
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout[-10000:]}"
