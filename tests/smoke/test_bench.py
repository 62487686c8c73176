"""`make bench`: its rows run, and its table says what was measured."""

import importlib.util
import os
import subprocess
import sys

import pytest

from sandbox import REPOSITORY

# By its path: other tests have modules with names of bench/.
_spec = importlib.util.spec_from_file_location("bench_table", REPOSITORY / "bench/table.py")
table = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(table)


def figure(*turns):
    made = table.Figure()
    for turn in turns:
        made.add(turn)
    return made


def bench(*rows):
    environment = {**{name: value for name, value in os.environ.items() if name not in ("BASE", "PEER")}, "BENCH_PAIRS": "1"}
    return subprocess.run([sys.executable, REPOSITORY / "bench/run.py", *rows], env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_contenders_take_turns():
    called = []
    figures = table.take_turns({name: lambda name=name: called.append(name) or len(called) for name in "ab"}, 3)
    assert called == ["a", "b"] * 3
    assert figures["a"].samples() == [1, 3, 5] and figures["b"].samples() == [2, 4, 6]


def test_a_ratio_is_the_median_of_turns(capsys):
    figures = {"here": figure(10, 30, 20), "floor": figure(20, 20, 20), "base": figure(10, 10, 20)}
    table.Table({"base": "abc"}).line("what", figures, table.PER_SECOND, ("floor", "{:,.0f}/s floor", "≥ 0.9"), ("base", "{:,.0f}/s"), base="≥ 1.1")
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| what | 20/s | 20/s floor | 1.00 (0.50–1.50) | ≥ 0.9 | 10/s: 1.00 (1.00–3.00), ≥ 1.1 **missed** |",
        "| the same |  | 10/s | 1.00 (1.00–3.00) |  |  |"]


@pytest.mark.parametrize("worst, mark", [(2, ""), (2.1, " **missed**")])
def test_a_target_limits_the_worst(capsys, worst, mark):
    table.Table({}).line("what", {"here": figure([1, 1], [1, worst])}, table.WORST_S, target="≤ 2 s")
    assert capsys.readouterr().out.splitlines()[2] == f"| what | median 1.00 s, worst {worst:.2f} s |  |  | ≤ 2 s{mark} |"


def test_rows_run():
    """Those that need no other program."""
    done = bench("jobs", "idle_daemons")
    assert done.returncode == 0, done
    heads, _, jobs, memory = done.stdout.splitlines()
    assert [cell.strip() for cell in heads.split("|")[1:-1]] == ["what", "figure", "floor", "ratio (least–most)", "target"]
    assert "jobs started and ended" in jobs and "/s" in jobs
    assert "MiB PSS" in memory


def test_an_unknown_row():
    done = bench("nothing")
    assert done.returncode != 0 and "no row begins with nothing" in done.stderr and "list_processes" in done.stderr
