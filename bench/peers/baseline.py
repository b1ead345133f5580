"""Two builds of the library beside each other: the same worker loads another libxent.so, in turns with this one."""

import math
import os
import pathlib
import tempfile

from peers.cases import REGIMES
from peers.report import cell, group_title, number, table, thread_text
from peers.results import case_of, spread


class BaselineError(Exception):
    """The other build cannot be used; says why."""


def library_file(path):
    """The libxent.so that is meant by a file or a folder."""
    path = pathlib.Path(path)
    for candidate in (path, path / "libxent.so", path / "lib" / "libxent.so"):
        if candidate.is_file():
            return candidate.resolve()
    raise BaselineError(f"--baseline is '{path}'; it must be a libxent.so or a folder with one")


def folder_of_links(library, own_library):
    """A folder in which every name of this build's library leads to the other one."""
    folder = tempfile.TemporaryDirectory(prefix="xent-baseline-")
    own = pathlib.Path(own_library)
    for name in {own.name, *(file.name for file in own.parent.glob("libxent.so*"))}:
        os.symlink(library, pathlib.Path(folder.name) / name)
    return folder


def check_loaded(party, library):
    """The loader must have taken the file that was asked for."""
    loaded = party.about["library"]
    if loaded and pathlib.Path(loaded).resolve() != library:
        raise BaselineError(f"the worker loaded '{loaded}' instead of '{library}'")


def times(record, key):
    return record["parties"][key]["seconds"].get("xent", [])


def group_ratios(records):
    """How many times as long the baseline takes, round by round, by regime: geometric means over its cases."""
    groups = {}
    for record in records:
        if times(record, "xent") and times(record, "baseline"):
            groups.setdefault((case_of(record).group, record["threads"]), []).append(record)
    found = {}
    for group, members in groups.items():
        by_round = []
        for pairs in zip(*(zip(times(r, "baseline"), times(r, "xent")) for r in members)):
            product = 1.0
            for before, after in pairs:
                product *= (before / after) ** (1 / len(pairs))
            by_round.append(product)
        found[group] = by_round
    order = list(REGIMES)
    return dict(sorted(found.items(), key=lambda item: (item[0][1], order.index(item[0][0].partition(",")[0]))))


def verdict(by_round):
    """Outside its own noise: so many rounds on one side of 1 that chance has less than one percent (sign test)."""
    rounds = len(by_round)
    above, below_one = sum(ratio > 1 for ratio in by_round), sum(ratio < 1 for ratio in by_round)
    chance = 2 * sum(math.comb(rounds, k) for k in range(max(above, below_one), rounds + 1)) / 2**rounds
    if chance >= 0.01:
        return "within noise"
    return "**faster**" if above > below_one else "**slower**"


def ratio_text(by_round):
    ratio = spread(by_round)
    return f"{ratio.median:.3f} [{ratio.low:.3f} {ratio.high:.3f}]"


def case_row(record):
    name = [record["case"], str(record["threads"])]
    mine, theirs = times(record, "xent"), times(record, "baseline")
    if not mine or not theirs:
        told = [f"{e['title']}: {e.get('failed') or e.get('wrong')}" for e in record["parties"].values()
                if not e["seconds"].get("xent")]
        return [*name, "-", "-", "; ".join(told), "-"]
    scale, unit = (1e6, "us") if case_of(record).warm else (1e3, "ms")
    by_round = [before / after for before, after in zip(theirs, mine)]
    return [*name, f"{cell(theirs, scale)} {unit}", f"{cell(mine, scale)} {unit}", ratio_text(by_round),
            verdict(by_round)]


HEAD = """\
# Two builds of xent

*Machine*: {machine}.

*This build*: {xent}; it chose {isa}. *Baseline*: {baseline}; it chose {baseline_isa}.

One process per build; in each round both have one turn per case: an untimed sample, then a timed one. Ratios are the
baseline's time over this build's, within a round: above 1 this build is faster. Regimes: geometric means over their
cases, then median [quartiles] over the rounds. Faster and slower: so many rounds lie on one side of 1 that chance has
less than one percent (sign test). Where memory happens to lie in either process is not part of that noise: a percent or
two between equal builds is nothing.
"""


def markdown(results, pictures):
    groups = [[group_title(group), str(threads), ratio_text(by_round), verdict(by_round)]
              for (group, threads), by_round in group_ratios(results.records).items()]
    parts = [HEAD.format(**results.about), "## Regimes\n",
             table(["regime", "threads", "baseline / this", "verdict"], groups), "## Cases\n",
             table(["case", "threads", "baseline", "this build", "baseline / this", "verdict"],
                   [case_row(record) for record in results.records])]
    if pictures:
        parts.append("![baseline / this, by regime](baseline.png)\n")
    return "\n".join(parts)


def below(records, limit):
    """Sentences about the regimes whose upper quartile is below the limit."""
    return [f"{group_title(group)}, {thread_text(threads)}: {ratio_text(by_round)} is below {number(limit)}"
            for (group, threads), by_round in group_ratios(records).items() if spread(by_round).high < limit]


def draw(records):
    """Ratios by regime with their quartiles."""
    from peers.pictures import RIVAL, ROOF, XENT, figure
    found = group_ratios(records)
    if not found:
        return {}
    made, (axes,) = figure(9, 1.4 + 0.36 * len(found))
    for row, by_round in enumerate(found.values()):
        ratio = spread(by_round)
        colour = {"**faster**": RIVAL, "**slower**": XENT}.get(verdict(by_round), ROOF)
        axes.errorbar(ratio.median, row, xerr=[[ratio.median - ratio.low], [ratio.high - ratio.median]], marker="o",
                      capsize=3, color=colour)
    axes.axvline(1, color=ROOF, linestyle="--", linewidth=1)
    titles = [f"{group_title(group)}, {thread_text(threads)}" for group, threads in found]
    axes.set(yticks=range(len(found)), yticklabels=titles,
             xlabel="baseline's time / this build's: medians, quartiles")
    axes.set_ylim(len(found) - 0.5, -0.5)
    return {"baseline.png": made}
