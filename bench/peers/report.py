"""report.md and report.csv of what was measured."""

import csv
import io

from peers.cases import FUNCTIONS, REGIMES
from peers.results import best_peer, case_of, columns, ratios, roof_of, spread, xent_of

CSV_COLUMNS = ("case", "threads", "rounds", "peer", "form", "low_ms", "median_ms", "high_ms", "floor_gb_per_s",
               "over_xent_low", "over_xent_median", "over_xent_high", "error", "note")
HOW = """\
**How it was measured.** One process per library. In each round every form of every library has one turn, one after the
other; a turn is one untimed sample and one timed sample (again, up to three times, if another program interrupted it;
then the fastest counts). A process has its turn when every thread of the one before it
sleeps, so wait policies are left as users have them ({restless} of {turns} did not wait for that, but a quarter of a
second only). Cells: median [quartiles] over the rounds. Ratios are taken within a round, then their median and
quartiles. A library with several forms shows its fastest one, named behind the time: `user` is the call that its users
write, `out=` its kernels into buffers that exist already. Large cases are cold: at least three copies of the data,
together {footprint} MB or more for each library, take turns, and so do the libraries; {cold}. Before its turn a process
reads a byte of every page that it holds, since hosts of virtual machines take back what was not touched for seconds.
Copies of inputs and the freeing of results are not timed. Small calls are warm, in batches of about 2 ms; xent, MKL and the functions from C are
called from C++, the others from Python, as their users call them. Answers were compared first with float64 (functions:
with long double, on a million arguments); a wrong one is named and was not timed. Peers share their inputs; xent's
process draws its own from the same distributions. *of roof*: the fastest plain loop that reads, or
copies, the same bytes, over xent's time; 1 is perfect. *best / xent*: how many times longer the fastest peer takes.
"""


def thread_text(threads):
    return f"{threads} thread{'s' if threads > 1 else ''}"


def number(value):
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def cell(values, scale=1.0):
    s = spread([scale * value for value in values])
    return f"{number(s.median)} [{number(s.low)} {number(s.high)}]"


def ratio_cell(over, under):
    s = ratios(over, under)
    return f"{number(s.median)} [{number(s.low)} {number(s.high)}]"


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head),
                      *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def short_note(column):
    """What stands in a cell without a time."""
    if column.note.startswith("failed"):
        return "failed"
    return "wrong" if "is wrong" in column.note else "-"


def peer_cell(column, scale):
    if not column.times:
        return short_note(column)
    return cell(column.times, scale) + (f" {column.form}" if column.choice else "")


def what(case):
    return "loss + gradient" if case.output == "gradient" else case.output


def regime_table(records):
    """One line per case: the same columns for all of a regime's records, some of them empty."""
    scale, unit = (1e6, "us") if case_of(records[0]).warm else (1e3, "ms")
    titles = list(dict.fromkeys(column.title for record in records for column in columns(record)
                                if column.times or short_note(column) != "-"))
    titles.remove("xent")
    roof = any(roof_of(record) for record in records)
    head = ["size", "type", "what", *(["roof"] if roof else []), f"xent, {unit}", *(["of roof"] if roof else []),
            *titles, "best / xent"]
    rows = []
    for record in records:
        case, xent, rival = case_of(record), xent_of(record), best_peer(record)
        by_title = {column.title: column for column in columns(record)}
        cells = [case.size.replace("x", " x "), case.dtype, what(case)]
        if roof:
            cells.append(cell(roof_of(record), scale))
        cells.append(peer_cell(xent, scale))
        if roof:
            cells.append(ratio_cell(roof_of(record), xent.times) if xent.times else "-")
        cells += [peer_cell(by_title[title], scale) if title in by_title else "-" for title in titles]
        cells.append(f"**{ratio_cell(rival.times, xent.times)}**" if rival and xent.times else "-")
        rows.append(cells)
    return table(head, rows)


def scaling_table(record):
    """One line per thread count: the work grows with the threads."""
    rows = []
    entries = list(record["parties"].values())
    first = entries[0]
    for entry in entries:
        elements, base = entry["elements"], first["elements"]
        times, alone = entry["seconds"]["xent"], first["seconds"]["xent"]
        speedup = ratios([elements * a for a in alone], [base * t for t in times])
        rows.append([str(entry["threads"]), str(elements), cell(times, 1e6),
                     cell([elements / t / 1e9 for t in times]),
                     f"{number(speedup.median)} [{number(speedup.low)} {number(speedup.high)}]"])
    return table(["threads", "elements", "xent, us", "billion elements per second", "times one thread"], rows)


def function_errors(records):
    """Largest errors of the peers, a line per function."""
    found = {}
    for record in records:
        case = case_of(record)
        if case.kind != "map":
            continue
        for column in columns(record):
            if column.error:
                found.setdefault((case.output, case.dtype), {})[column.title] = column.error.removesuffix(" ULP")
    titles = list(dict.fromkeys(title for errors in found.values() for title in errors))
    if not titles:
        return ""
    order = sorted(found, key=lambda key: (key[1], FUNCTIONS.index(key[0])))
    rows = [[*key, *(found[key].get(title, "-") for title in titles)] for key in order]
    return ("## Errors of functions\n\nLargest errors in ULP over a million arguments, of the form that is shown. "
            "(xent's are in README.md.)\n\n" + table(["function", "type", *titles], rows))


def notes(records):
    """What is not to be seen in the tables: wrong answers and failures, one line each."""
    lines = []
    for record in records:
        for column in columns(record):
            if "is wrong" in column.note or column.note.startswith("failed"):
                line = f"* {record['case']}, {thread_text(record['threads'])}: {column.title}: {column.note}"
                lines += [line] if line not in lines else []
    return "\n".join(lines) + "\n" if lines else "None.\n"


def head(about, records):
    turns = sum(record["rounds"] * len(record["parties"]) for record in records)
    rounds, threads = (", ".join(sorted({str(record[name]) for record in records})) for name in ("rounds", "threads"))
    lines = ["# xent beside its peers", "", f"*Machine*: {about['machine']}.", "",
             f"*xent*: {about['xent']}; it chose {about['isa']}. *Rounds*: {rounds}. *Threads*: {threads}, bound to "
             "processors where the library allows it.", ""]
    lines += [f"* {title}: {version}" for title, version in about["versions"].items()]
    lines += [f"* **{title} is missing**: {reason}" for title, reason in about["missing"].items()]
    lines += [f"* Roof, {thread_text(int(count))}: {' '.join(text.split())}"
              for count, texts in about["roofs"].items() for text in texts]
    cache, footprint = about["cache"] >> 20, about["footprint"] >> 20
    cold = f"the last-level caches have {cache} MB" + ("" if footprint > cache else ", **which may hold some of it**")
    restless = sum(record["restless"] for record in records)
    return "\n".join(lines) + "\n\n" + HOW.format(restless=restless, turns=turns, footprint=footprint, cold=cold)


def summary_table(records):
    """One line per regime and output: the range over its cases."""
    groups = {}
    for record in records:
        groups.setdefault(case_of(record).group, []).append(record)
    rows = []
    for group, members in groups.items():
        of_roof = [ratios(roof_of(r), xent_of(r).times).median for r in members if roof_of(r) and xent_of(r).times]
        ahead = [ratios(best_peer(r).times, xent_of(r).times).median for r in members
                 if best_peer(r) and xent_of(r).times]
        rows.append([group_title(group), str(len(members)), span(of_roof), span(ahead),
                     ", ".join(sorted({best_peer(r).title for r in members if best_peer(r)}))])
    return table(["regime", "cases", "of roof", "best peer / xent", "best peers"], rows)


def span(values):
    if not values:
        return "-"
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def group_title(group):
    regime, _, output = group.partition(", ")
    return REGIMES[regime] + {"": "", "loss": ": loss", "gradient": ": loss + gradient"}[output]


PICTURES = {"regimes.png": "xent and the best peer against the roof",
            "classes.png": "Throughput over the number of classes", "scaling.png": "Scaling over threads",
            "latency.png": "Latency of small calls"}


def threads_section(records, threads):
    """All that was measured with so many threads, regime by regime."""
    parts = [f"## {thread_text(threads)}\n\n{summary_table(records)}"]
    for regime in dict.fromkeys(case_of(record).regime for record in records):
        title = REGIMES[regime][0].upper() + REGIMES[regime][1:]
        parts.append(f"### {title}\n\n{regime_table([r for r in records if case_of(r).regime == regime])}")
    return "\n".join(parts)


def scaling_title(case):
    return case.output if case.kind == "map" else f"{case.classes} classes, {what(case)}"


def scaling_section(records):
    parts = ["## Scaling over threads\n",
             "In cache; each thread brings as much as fits half of its second-level cache.\n"]
    parts += [f"{scaling_title(case_of(record))}:\n\n{scaling_table(record)}" for record in records]
    return "\n".join(parts)


def markdown(results, pictures):
    order = list(REGIMES)
    records = sorted(results.records, key=lambda record: order.index(case_of(record).regime))
    growing = [record for record in records if case_of(record).regime == "scaling"]
    plain = [record for record in records if record not in growing]
    parts = [head(results.about, records)]
    parts += [f"![{PICTURES[name]}]({name})\n" for name in PICTURES if name in pictures]
    for threads in sorted({record["threads"] for record in plain}, reverse=True):
        parts.append(threads_section([record for record in plain if record["threads"] == threads], threads))
    parts += [function_errors(plain)] if function_errors(plain) else []
    parts += [scaling_section(growing)] if growing else []
    parts.append("## Wrong answers and failures\n\n" + notes(records))
    return "\n".join(parts)


def csv_entries(record):
    """Title, form, times, error and note of every party, the roof included; and the times that they are related to."""
    if case_of(record).regime == "scaling":
        entries = [(f"xent, {thread_text(entry['threads'])}", "", entry["seconds"]["xent"], "", "")
                   for entry in record["parties"].values()]
        return entries, None
    roof = [("roof", "", roof_of(record), "", "")] if roof_of(record) else []
    return (roof + [(c.title, c.form, c.times, c.error, c.note) for c in columns(record)]), xent_of(record).times


def three(quartiles, digits):
    if quartiles is None:
        return ["", "", ""]
    return [f"{value:.{digits}g}" for value in (quartiles.low, quartiles.median, quartiles.high)]


def comma_separated(results):
    """One line per case and party, roofs included."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(CSV_COLUMNS)
    for record in results.records:
        entries, xent = csv_entries(record)
        for title, form, times, error, note in entries:
            ms = spread([1e3 * t for t in times]) if times else None
            over = ratios(times, xent) if times and xent else None
            speed = f"{case_of(record).floor_bytes / ms.median / 1e6:.4g}" if ms and xent is not None else ""
            lines.writerow([record["case"], record["threads"], record["rounds"], title, form, *three(ms, 6), speed,
                            *three(over, 4), error, note])
    return text.getvalue()
