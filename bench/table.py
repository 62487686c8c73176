"""Contenders that take turns, and the lines of the table that say what they measured."""

import os
import re
import statistics

PAIRS = int(os.environ.get("BENCH_PAIRS", "7"))  # how often the contenders of a row take turns
FEW = min(PAIRS, 5)                              # the same where a turn takes long, or the cost of an option is measured


class Figure:
    """What one contender measured: the samples of each of its turns."""

    def __init__(self):
        self.turns = []

    def add(self, measured):
        self.turns.append(measured if isinstance(measured, list) else [measured])

    def samples(self):
        return sorted(sample for turn in self.turns for sample in turn)

    def median(self):
        return statistics.median(self.samples())

    def ratios(self, other):
        """To another contender, turn by turn."""
        return [statistics.median(one) / statistics.median(two) for one, two in zip(self.turns, other.turns)]


def take_turns(contenders, turns=PAIRS):
    """Calls each of {name: measure}, one after the other, again and again, so that a drift of the machine hits all. {name: Figure}."""
    figures = {name: Figure() for name in contenders}
    for _ in range(turns):
        for name, measure in contenders.items():
            figures[name].add(measure())
    return figures


class Form:
    """How figures look: the format of the median, and of a percentile beside it, which a target then limits."""

    def __init__(self, text, beside=None, percentile=100):
        self.text, self.beside, self.percentile = text, beside, percentile

    def limited(self, figure):
        samples = figure.samples()
        return samples[min(len(samples) - 1, len(samples) * self.percentile // 100)] if self.beside else figure.median()

    def show(self, figure):
        return self.text.format(figure.median()) + (self.beside.format(self.limited(figure)) if self.beside else "")


PER_SECOND = Form("{:,.0f}/s")
MEDIAN_MS = Form("median {:.3f} ms")
MS = Form("median {:.2f} ms", ", p99 {:.2f} ms", 99)
WORST_S = Form("median {:.2f} s", ", worst {:.2f} s")
MIB = Form("{:.1f} MiB PSS")


def judged(target, number):
    """The target, marked if the number misses it."""
    bound = re.match(r"([≥≤]) ([\d.,]*\d)", target)
    if not bound:
        return target
    most = float(bound[2].replace(",", ""))
    good = number >= most if bound[1] == "≥" else number <= most
    return target if good else f"{target} **missed**"


def spread(ratios):
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


class Table:
    """Markdown. `rivals` are the contenders with a column of their own: {name of a contender: head of the column}."""

    def __init__(self, rivals):
        self.rivals = rivals
        heads = ["what", "figure", "floor", "ratio (least–most)", "target", *(f"beside {head}" for head in rivals.values())]
        print("|", " | ".join(heads), "|\n" + "|---" * len(heads) + "|", flush=True)

    def line(self, what, figures, form, *floors, target="", **goals):
        """A line about the contender `here`, and one more for each floor after the first. A floor is the name of a contender, its
        format, the target of the ratio to it, and what to add to that ratio; the last two if wanted. `goals` are targets of the
        ratios to rivals."""
        here = figures["here"]
        first, *more = floors or [None]
        self.cells(what, form.show(here), *self.floor(figures, *first or ()), judged(target, form.limited(here)),
                   *(self.rival(figures, name, form, goals.get(name, "")) for name in self.rivals))
        for floor in more:
            self.cells("the same", "", *self.floor(figures, *floor))

    def cells(self, what, figure, floor, ratio, goal, target="", *rivals):
        rivals = rivals or [""] * len(self.rivals)
        print("|", " | ".join([what, figure, floor, ratio, goal or target, *rivals]), "|", flush=True)

    @staticmethod
    def floor(figures, name=None, text="", target="", more=""):
        if name is None:
            return "", "", ""
        ratios = figures["here"].ratios(figures[name])
        return text.format(figures[name].median()), spread(ratios) + more, judged(target, statistics.median(ratios))

    @staticmethod
    def rival(figures, name, form, goal):
        if name not in figures:
            return ""
        ratios = figures["here"].ratios(figures[name])
        goal = goal and ", " + judged(goal, statistics.median(ratios))
        return f"{form.text.format(figures[name].median())}: {spread(ratios)}{goal}"
