#!/usr/bin/python3
"""The benchmarks: `make bench`. Prints the Markdown table of docs/benchmarks.md.

    run.py [ROW...]     rows whose names begin with one of these words; all without one (ROWS in rows.py)

BASE=COMMIT builds that commit, too, and measures it beside the working tree; PEER='host:port:proxyport:secret' a server of the same
API that runs already. The contenders of a row take turns, BENCH_PAIRS=7 times (5 times where a turn takes long), and each
measurement of a rate lasts BENCH_SECONDS=1. A ratio is the median of those of single turns; the least and the most stand beside it.
Memory is looked at after a rest of BENCH_REST=60 seconds.
"""

import os
import sys

from rows import ROWS, Bench
from servers import BIN, Server, build_commit
from table import Table


def main(words):
    unknown = [word for word in words if not any(row.__name__.startswith(word) for row in ROWS)]
    if unknown:
        sys.exit(f"bench: no row begins with {' or '.join(unknown)}; there are {', '.join(row.__name__ for row in ROWS)}")
    builds, running, rivals = {"here": BIN}, {}, {}
    if os.environ.get("BASE"):
        rivals["base"], builds["base"] = build_commit(os.environ["BASE"])
    if os.environ.get("PEER"):
        running["peer"] = Server(*os.environ["PEER"].split(":", 3))
        rivals["peer"] = "{0.host}:{0.port}".format(running["peer"])
    bench = Bench(builds, running, Table(rivals))
    for row in ROWS:
        if not words or any(row.__name__.startswith(word) for word in words):
            row(bench)


main(sys.argv[1:])
