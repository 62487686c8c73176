"""make chaos: the test of test_chaos.py for as long as one likes, with a summary."""

import argparse
import pathlib
import random
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "api"))

from driver import chaos  # pylint: disable=wrong-import-position


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", help="repeats the operations of another run; their timing is the machine's")
    parser.add_argument("--runners", action="store_true", help="kill runners, too, which loses their jobs")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without ending the server
    seed = options.seed or str(random.randrange(10**6))
    print(f"seed {seed}, {options.seconds:.0f} s", flush=True)
    try:
        history = chaos(seed, options.seconds, {"runners may die"} if options.runners else (), lambda text: print(text, flush=True))
    except AssertionError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{sum(history.counts.values())} operations, and what came of them:\n{history.summary()}\nseed {seed}: all held")
    return 0


if __name__ == "__main__":
    sys.exit(main())
