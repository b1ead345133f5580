"""The report's pictures. Each function draws one figure, or gives None where nothing was measured for it."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
import matplotlib.ticker as ticker  # noqa: E402
from matplotlib.patches import Patch  # noqa: E402

from peers.cases import REGIMES  # noqa: E402
from peers.report import group_title, number, scaling_title, thread_text  # noqa: E402
from peers.results import best_peer, case_of, columns, ratios, roof_of, spread, xent_of  # noqa: E402

XENT, ROOF, RIVAL = "#c2410c", "#52525b", "#2563eb"
COLOURS = {"xent": XENT, "PyTorch": "#2563eb", "torch.compile": "#60a5fa", "JAX": "#7c3aed", "TensorFlow": "#d97706",
           "scikit-learn": "#059669", "ONNX Runtime": "#64748b", "oneDNN": "#0891b2"}
SOFTMAX_OVER_CLASSES = ("few", "hundreds", "thousands", "vocabulary")


def figure(width, height, columns=1):
    made, axes = plt.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    for ax in axes[0]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, which="major", linewidth=0.4, color="0.85")
        ax.set_axisbelow(True)
    return made, axes[0]


def colour_of(title):
    return COLOURS.get(title, "0.5")


def median(values):
    return spread(values).median


def geometric_mean(values):
    product = 1.0
    for value in values:
        product *= value ** (1 / len(values))
    return product


def regimes(records, threads):
    """Per regime: how much of the roof's speed xent and each case's best peer reach (geometric means, ranges)."""
    groups = {}  # ratios to the roof, of xent and of the best peer, by regime
    for record in records:
        xent = xent_of(record)
        if not roof_of(record) or not xent.times or record["threads"] != threads:
            continue
        roof, rival = roof_of(record), best_peer(record)
        ours, theirs = groups.setdefault(case_of(record).group, ([], []))
        ours.append(ratios(roof, xent.times).median)
        if rival:
            theirs.append(ratios(roof, rival.times).median)
    if not groups:
        return None
    order = list(REGIMES)
    names = sorted(groups, key=lambda name: order.index(name.partition(",")[0]))
    made, (axes,) = figure(10, 1.6 + 0.55 * len(names))
    for row, name in enumerate(names):
        for values, offset, colour in ((groups[name][0], -0.19, XENT), (groups[name][1], 0.19, RIVAL)):
            if not values:
                continue
            mean = geometric_mean(values)
            axes.barh(row + offset, mean, 0.36, color=colour)
            axes.plot([min(values), max(values)], [row + offset] * 2, color="black", linewidth=0.9, alpha=0.7)
            axes.text(max(values) + 0.012, row + offset, f"{mean:.2f}", va="center", fontsize=8.5, color=colour)
    axes.axvline(1, color=ROOF, linestyle="--", linewidth=1.2)
    axes.text(0.985, -0.75, "roof: a plain loop over the same bytes", ha="right", va="center", fontsize=8.5, color=ROOF)
    axes.set(yticks=range(len(names)), yticklabels=[group_title(name) for name in names],
             xlim=(0, max(1.05, axes.get_xlim()[1])),
             xlabel="part of the roof's speed (bars: geometric means; lines: from the worst to the best case)")
    axes.set_ylim(len(names) - 0.5, -0.8)
    axes.grid(False, axis="y")
    legend_below(made, {"xent": Patch(color=XENT), "best peer of each case": Patch(color=RIVAL)})
    made.suptitle(f"Cold, {thread_text(threads)}: how close to memory's speed", fontsize=12)
    return made


def classes(records, threads):
    """Throughput of floor traffic over the number of classes."""
    chosen = [r for r in records if case_of(r).regime in SOFTMAX_OVER_CLASSES and r["threads"] == threads]
    if len({case_of(r).classes for r in chosen}) < 2:
        return None
    made, axes = figure(13, 5.6, 2)
    for ax, output, title in zip(axes, ("loss", "gradient"), ("loss", "loss + gradient")):
        lines = {}
        for record in sorted(chosen, key=lambda r: case_of(r).classes):
            case = case_of(record)
            if case.output != output:
                continue
            parties = [(column.title, column.times) for column in columns(record) if column.times]
            for name, times in [*parties, *([("roof", roof_of(record))] if roof_of(record) else [])]:
                lines.setdefault(name, []).append((case.classes, case.floor_bytes / median(times) / 1e9))
        for name, points in lines.items():
            style = {"roof": dict(color=ROOF, linestyle="--", linewidth=1.4, zorder=3),
                     "xent": dict(color=XENT, marker="o", markersize=5, linewidth=2.4, zorder=4)}.get(
                         name, dict(color=colour_of(name), marker=".", linewidth=1.2))
            ax.plot(*zip(*points), label=name, **style)
        ax.set(xscale="log", yscale="log", xlabel="classes", title=title)
        ax.xaxis.set_major_locator(ticker.FixedLocator((2, 5, 10, 32, 100, 1000, 10000, 100000)))
        ax.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x / 1000:g}k" if x >= 10000 else f"{x:g}"))
        plain_numbers(ax.yaxis)
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes[0].set_ylabel("GB/s that cannot be avoided (logits, labels, gradient: once each)")
    share_limits(axes, 1)
    handles = dict(zip(*reversed(axes[0].get_legend_handles_labels())))
    handles.update(zip(*reversed(axes[1].get_legend_handles_labels())))
    legend_below(made, handles)
    made.suptitle(f"Softmax cross-entropy, f32, cold, {thread_text(threads)}", fontsize=12)
    return made


def share_limits(axes, headroom):
    low, high = min(ax.get_ylim()[0] for ax in axes), max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(low, high * headroom)


def legend_below(made, handles):
    share = 0.35 / made.get_figheight()
    made.get_layout_engine().set(rect=(0, share, 1, 1 - share))
    made.legend(handles.values(), handles.keys(), loc="lower center", ncols=len(handles), fontsize=9, frameon=False)


def plain_numbers(axis):
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(ticker.NullFormatter())


def scaling(records):
    """Throughput in cache against that of one thread, as the work grows with the threads."""
    chosen = [r for r in records if len(r["parties"]) > 1]
    if not chosen:
        return None
    made, (axes,) = figure(7.5, 5.5)
    most = max(entry["threads"] for r in chosen for entry in r["parties"].values())
    axes.plot([1, most], [1, most], "--", color=ROOF, linewidth=1.2, label="perfect")
    colours = plt.get_cmap("tab10").colors
    for index, record in enumerate(chosen):
        case = case_of(record)
        entries = [e for e in record["parties"].values() if e["seconds"].get("xent")]
        alone = entries[0]
        points = []
        for entry in entries:
            pairs = zip(alone["seconds"]["xent"], entry["seconds"]["xent"])
            points.append(spread([entry["elements"] * a / (alone["elements"] * t) for a, t in pairs]))
        threads = [entry["threads"] for entry in entries]
        middle = [p.median for p in points]
        errors = [[p.median - p.low for p in points], [p.high - p.median for p in points]]
        axes.errorbar(threads, middle, errors, marker="o", markersize=4, capsize=3, linewidth=1.4,
                      color=colours[index % 10], label=f"{scaling_title(case)}: {middle[-1]:.2f} with {threads[-1]}")
    axes.set(xlabel="threads", ylabel="throughput, times that of one thread",
             title="In cache, the same work for each thread")
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    axes.legend(fontsize=9, loc="upper left")
    return made


def latency(records, threads):
    """Microseconds of small calls, on a logarithmic scale."""
    chosen = [r for r in records if case_of(r).regime == "small" and r["threads"] == threads]
    if not chosen:
        return None
    outputs = [o for o in ("loss", "gradient") if any(case_of(r).output == o for r in chosen)]
    made, axes = figure(6.5 * len(outputs), 5.2, len(outputs))
    for ax, output in zip(axes, outputs):
        mine = [r for r in chosen if case_of(r).output == output]
        names = list(dict.fromkeys(c.title for r in mine for c in columns(r) if c.times))
        width = 0.84 / max(1, len(names))
        for index, record in enumerate(mine):
            for column in columns(record):
                if not column.times:
                    continue
                us = 1e6 * median(column.times)
                at = index - 0.42 + (names.index(column.title) + 0.5) * width
                ax.bar(at, us, width * 0.92, color=colour_of(column.title))
                ax.text(at, us * 1.08, number(us), ha="center", va="bottom", fontsize=7, rotation=90)
        ax.set(yscale="log", xticks=range(len(mine)), title="loss" if output == "loss" else "loss + gradient",
               xticklabels=[case_of(r).size.replace("x", " x ") for r in mine])
        ax.yaxis.set_major_formatter("{x:g}")
        ax.grid(False, axis="x")
    share_limits(axes, 2)  # room for the numbers on the bars
    axes[0].set_ylabel("microseconds per call")
    titles = dict.fromkeys(column.title for record in chosen for column in columns(record) if column.times)
    legend_below(made, {title: Patch(color=colour_of(title)) for title in titles})
    made.suptitle(f"One call on few rows, in cache, {thread_text(threads)}", fontsize=12)
    return made


def draw(records):
    """The figures by file name; with the largest thread count that was measured."""
    growing = [r for r in records if case_of(r).regime == "scaling"]
    plain = [r for r in records if r not in growing]
    threads = max((r["threads"] for r in plain), default=1)
    drawn = {"regimes.png": regimes(plain, threads), "classes.png": classes(plain, threads),
             "scaling.png": scaling(growing), "latency.png": latency(plain, threads)}
    return {name: made for name, made in drawn.items() if made is not None}


def save(made, path):
    made.savefig(path, dpi=120, format="png")
    plt.close(made)
