"""Records of cases as they were measured, kept in one JSON file; and what is made of them: quartiles, ratios."""

import dataclasses
import json
import os
import pathlib
import statistics

from peers.cases import Case
from peers.installed import PEERS

MANY = {peer.key for peer in PEERS if peer.many}


def write_whole(path, text):
    """Writes a file so that nobody ever sees a part of it."""
    unfinished = pathlib.Path(f"{path}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


class Results:
    """What was measured, by case and thread count; `about` is the head of the report."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.about, self.records = {}, []

    def read(self):
        kept = json.loads(self.path.read_text(encoding="utf-8"))
        self.about, self.records = kept["about"], kept["records"]

    def add(self, record):
        """In place of an earlier record of the same case and threads."""
        same = [r for r in self.records if (r["case"], r["threads"]) == (record["case"], record["threads"])]
        self.records = [r for r in self.records if r not in same] + [record]

    def write(self):
        write_whole(self.path, json.dumps({"about": self.about, "records": self.records}))


@dataclasses.dataclass(frozen=True)
class Spread:
    low: float  # quartiles
    median: float
    high: float


def spread(values):
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratios(over, under):
    """Round by round."""
    return spread([a / b for a, b in zip(over, under)])


@dataclasses.dataclass(frozen=True)
class Column:
    """A party in one case: its best form, or why there is none."""
    key: str
    title: str
    form: str = ""
    choice: bool = False  # there were other forms
    times: tuple = ()
    error: str = ""
    note: str = ""


def case_of(record):
    regime, output, dtype, size = record["case"].split("/")
    return Case(regime, output, dtype, tuple(map(int, size.split("x"))))


def error_text(errors):
    return ", ".join(f"{error:.2g} ULP" if what == "ulp" else f"{what} {error:.1e}" for what, error in errors.items())


def note_of(entry):
    if entry.get("failed"):
        return f"failed: {entry['failed']}"
    if entry.get("skip"):
        return entry["skip"]
    return "; ".join(f"{form} is wrong: {wrong}" for form, wrong in entry.get("wrong", {}).items())


def columns_of_party(key, entry):
    times = {form: tuple(seconds) for form, seconds in entry["seconds"].items() if seconds}
    if key == "xent":
        times.pop("roof", None)
    errors, note = entry.get("errors", {}), note_of(entry)
    if key in MANY and times:
        return [Column(form, form, form, False, seconds, error_text(errors.get(form, {})), note)
                for form, seconds in times.items()]
    if not times:
        return [Column(key, entry["title"], note=note)]
    best = min(times, key=lambda form: statistics.median(times[form]))
    return [Column(key, entry["title"], best, len(entry["seconds"]) > 1 and key != "xent", times[best],
                   error_text(errors.get(best, {})), note)]


def columns(record):
    """Of every party, xent first."""
    return [column for key, entry in record["parties"].items() for column in columns_of_party(key, entry)]


def xent_of(record):
    return next(column for column in columns(record) if column.key == "xent")


def roof_of(record):
    """Seconds of the roof, round by round; empty where none was measured."""
    return record["parties"]["xent"]["seconds"].get("roof", [])


def best_peer(record):
    """The fastest of the peers whose answers are right, or None."""
    rivals = [column for column in columns(record) if column.key != "xent" and column.times]
    return min(rivals, key=lambda column: statistics.median(column.times), default=None)
