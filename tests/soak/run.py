"""make soak: see soak.py. The exit status is the verdict."""

import argparse
import pathlib
import random
import signal
import sys

sys.path[:0] = [str(pathlib.Path(__file__).parents[1] / name) for name in ("api", "chaos")]

from soak import Soak  # pylint: disable=wrong-import-position


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=1, help="so many times the usual load")
    parser.add_argument("--seed", help="repeats the operations of another run; their timing is the machine's")
    parser.add_argument("--directory", default="build/soak", help="what is measured goes there")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without ending the server
    seed = options.seed or str(random.randrange(10**6))
    soak = Soak(60 * options.minutes, options.directory, seed, options.rate, lambda text: print(text, flush=True))
    return 0 if soak.run() else 1


if __name__ == "__main__":
    sys.exit(main())
