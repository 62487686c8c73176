"""The rows about calls on files, beside the tools that they replace."""

import json
import os
import pathlib
import random
import subprocess
import tempfile
import time

import load
import servers
from table import PER_SECOND, Form


class SourceTree:
    """20,000 files of 10 KB in 200 directories, of which one has a line with a needle."""

    needle = "needle_4711_x"

    def __enter__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="bench")
        self.path = self.directory.name
        words = [word for path in sorted(servers.ROOT.glob("fcgi-app/*/*.c")) for word in path.read_text().split()]
        rng = random.Random(4711)
        lines = [" ".join(rng.choices(words, k=rng.randrange(1, 10))) for _ in range(20000)]
        for number in range(20000):
            directory = pathlib.Path(self.path, f"d{number // 1000}", f"s{number // 100}")
            directory.mkdir(parents=True, exist_ok=True)
            content = "\n".join(rng.choices(lines, k=280))[:10000] + "\n"
            (directory / f"file{number}.c").write_text(content + (f"the {self.needle} of the stack\n" if number == 15050 else ""))
        return self

    def __exit__(self, *_):
        self.directory.cleanup()


def milliseconds(work):
    started = time.monotonic()
    work()
    return (time.monotonic() - started) * 1e3


def shell_time(command):
    return milliseconds(lambda: subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C.UTF-8"}))


def files_per_second(work):
    return 20000 / work() * 1e3


def search_files(bench):
    """A rare line in 20,000 files (200 MB, cached)."""
    def search(server, tree, fields, **more):
        answer = server.call("/search_files", {"path": tree.path, **fields, **more})
        assert len(answer["matches"]) == 1, answer

    rows = [("a rare fixed string", "F", {"pattern": SourceTree.needle, "fixed": True}), ("a regular expression", "P", {"pattern": r"needle_\d+_x"}),
            ("a regular expression without a fixed beginning", "P", {"pattern": r"[a-z]+_\d{4}_x"})]
    with SourceTree() as tree:
        for what, option, fields in rows:
            command = f"grep -rn{option} '{fields['pattern']}' {tree.path}"
            figures = bench.each(lambda server, fields=fields: files_per_second(lambda: milliseconds(lambda: search(server, tree, fields))),
                                 {"grep": lambda command=command: files_per_second(lambda: shell_time(command))})
            bench.line(f"`/search_files` for {what}, 20,000 files, 200 MB", figures, Form("{:,.0f} files/s"), ("grep", f"{{:,.0f}} files/s `grep -rn{option}`", "≥ 0.9"))


def find_files(bench):
    """All entries of the same tree, and those of one directory with as many."""
    def find(server, tree):
        assert len(server.call("/find_files", {"path": tree, "limit": 100000})["entries"]) > 20000

    def describe(server, directory):
        assert len(server.call("/list_dir", {"path": directory, "details": True})["entries"]) == 20000

    def printed(place):
        return lambda: files_per_second(lambda: shell_time(f"find {place} -printf '%p %y %s %T+ %m %U %G %l\\n'"))

    with SourceTree() as tree:
        figures = bench.each(lambda server: files_per_second(lambda: milliseconds(lambda: find(server, tree.path))), {"find": printed(tree.path)})
        bench.line("`/find_files`, 20,000 files", figures, Form("{:,.0f} files/s"), ("find", "{:,.0f} files/s `find -printf`", "≥ 0.8"))
    with tempfile.TemporaryDirectory(prefix="bench") as directory:
        for number in range(20000):
            pathlib.Path(directory, f"file{number}").touch()
        figures = bench.each(lambda server: files_per_second(lambda: milliseconds(lambda: describe(server, directory))), {"find": printed(directory)})
    bench.line("`/list_dir` with details, 20,000 files", figures, Form("{:,.0f} files/s"), ("find", "{:,.0f} files/s `find -printf`", "≥ 0.8"))


def in_turn(path, bodies):
    """A script that posts one body after the other."""
    texts = ", ".join(f"[==[{json.dumps(body)}]==]" for body in bodies)
    return f"local bodies, turn = {{{texts}}}, 0\n" \
           f'request = function() turn = turn % #bodies + 1; return wrk.format("POST", "{path}", nil, bodies[turn]) end\n'


def edit_file(bench):
    """A text of a file of 1 MB becomes another one of the same length, 8 clients and as many files, beside /write_file of it."""
    content = "".join(f"line {number:07} of this file\n" for number in range(40000))
    edits = [{"old_str": "line 0020000", "new_str": "line 0020000"}]

    with tempfile.TemporaryDirectory(prefix="bench") as directory, servers.Ours(bench.builds["here"]) as beside:
        files = [f"{directory}/{number}" for number in range(8)]
        for file in files:
            pathlib.Path(file).write_text(content)
        figures = bench.each(lambda server: load.rate(server, "/edit_file", lua=in_turn("/edit_file", [{"path": file, "edits": edits} for file in files])),
                             {"write": lambda: load.rate(beside, "/write_file", lua=in_turn("/write_file", [{"path": file, "content": content} for file in files]))})
    bench.line("`/edit_file` of 1 MB, 8 clients", figures, PER_SECOND, ("write", "{:,.0f}/s `/write_file` of it", "≥ 0.6"))
