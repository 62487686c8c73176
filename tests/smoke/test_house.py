"""The order of the sources: which files need which, names that mean one thing, files and functions that fit a screen or a few."""

import functools
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import sys

import pytest

from sandbox import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tools"))
import sources  # noqa: E402


def tool(name):
    """A program of tools/, as a module."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(REPOSITORY / "tools" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


@functools.cache
def objects(program):
    return sources.objects(program)


@pytest.fixture(autouse=True)
def build(monkeypatch):
    """Where the objects are."""
    monkeypatch.setenv("BUILD", os.environ.get("SANDBOX_BUILD", str(REPOSITORY / "build")))


@pytest.mark.parametrize("room", ["fcgi-app", "procd", "launcher", "terminal"])
def test_no_circle(room):
    circles = tool("circles")
    assert not circles.circles(circles.all_arrows(room))


# The rooms of one program alone.
OF_ONE_PROGRAM = {"fcgi-app", "terminal", "guard", "launcher", "screen"}


def test_no_program_includes_another():
    crossing = [(str(path), room) for path in sources.product_files()
                for room in re.findall(r'^#include "([a-z-]+)/', (sources.ROOT / path).read_text(), re.M)
                if room in OF_ONE_PROGRAM and room != path.parts[0]]
    assert not crossing


def test_daemon_and_runner_stand_side_by_side():
    arrows = tool("circles").include_arrows("procd")
    for one, other in (("daemon", "runner"), ("runner", "daemon")):
        crossing = [(node, target) for node, targets in arrows.items() for target in targets
                    if node.startswith(f"procd/{one}/") and target.startswith(f"procd/{other}/")]
        assert not crossing


@pytest.mark.parametrize("program", sources.PROGRAMS)
def test_no_shared_names(program):
    assert not tool("shared-names").shared_names(program)


def test_each_daemon_has_its_service_and_unit():
    """common/daemons.h is the list; service directories and units of systemd are files."""
    listed = re.findall(r'DAEMON\(\w+, "([a-z-]+)", (true|false),', (REPOSITORY / "common/daemons.h").read_text())
    services = {path.name for path in (REPOSITORY / "nginx/service").iterdir() if not path.name.startswith(".")}
    assert {name for name, _ in listed} == services - {"claim"}  # of a pool that waits for its token
    for name, is_ours in listed:
        assert is_ours == "false" or (REPOSITORY / f"systemd/nginx-sandbox-{name}@.service").is_file()


# What a program links of procd beside procd/wire.
OF_PROCD = {"fcgi-app": r"log/(byte_cursor|event_id|event_text|job_position|job_segment|settled_file|terminal_size)\.c", "guard": "",
            "terminal": r"jobs/job_record\.c|log/(byte_cursor|job_position|job_segment|settled_file|terminal_size)\.c",
            "nginx-sandbox": r"cgroup/\w+\.c|process/\w+\.c|runner/environment\.c"}


@pytest.mark.parametrize("program", OF_PROCD)
def test_others_link_the_words_of_procd(program):
    found = [path.relative_to("procd") for path in objects(program) if path.is_relative_to("procd")]
    assert any(path.parts[0] == "wire" for path in found)
    assert not [path for path in found if path.parts[0] != "wire" and not re.fullmatch(OF_PROCD[program], str(path))]


def test_files_and_functions_are_short():
    long = [path for path in sources.product_files() if len((sources.ROOT / path).read_text().splitlines()) > 500]
    long += [(path, name) for path in sources.product_files() for name, first, last in sources.functions(path) if last - first + 1 > 60]
    assert not long


def test_the_tools_see_circles():
    circles = tool("circles").circles
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    assert sorted(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "e"}, "e": {"d"}})) == [["a", "b", "c"], ["d", "e"]]


def test_the_tools_see_functions(tmp_path, monkeypatch):
    """A definition, whatever its head looks like, and nothing else."""
    text = """
static __attribute__((format(printf, 1, 2))) void one(const char *format, ...)
{
    if (format) { /* } */
        two("}");
    }
}

struct row {
    int number;
};

int declared(void);

CLEANUP(row)

const struct row *three(
    int (*callback)(void *, int), void *data)
{
    return NULL; // not four() {
}
"""
    (tmp_path / "some.c").write_text(text)
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    assert sources.functions(pathlib.Path("some.c")) == [("one", 2, 7), ("three", 17, 21)]
    assert sources.code_lines(text) == 16
