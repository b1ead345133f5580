"""xent beside the libraries that its users would pick instead, or beside another build of itself.

Installs the other libraries into a virtual environment of its own (build/compare), gives each a process, lets them take
turns round by round, and writes report.md, report.csv and pictures. A library that cannot be installed, or whose answer
is wrong, is named in the report, and the run goes on.
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import time

from peers import baseline, cases, installed, machine, parties, pictures, report
from peers.progress import Progress, duration
from peers.results import Results, best_peer, columns, ratios, write_whole, xent_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = """\
examples:
  tools/compare                                       everything: well over an hour
  tools/compare --quick                               a few cases, 5 rounds
  tools/compare --cases 'vocabulary/*' --peers torch,jax
  tools/compare --threads 2,1 --cases '*/f32/512x32000' --rounds 25
  tools/compare --append --cases 'images/*'           adds cases to those measured before, then writes the report anew
  tools/compare --report-only                         only writes the report of what was measured
  tools/compare --baseline ../old/build/release/lib   this build beside another one
  tools/compare --baseline old/libxent.so --quick --fail-below 0.95
  tools/compare --list

A case's name is REGIME/OUTPUT/TYPE/SHAPE. Interrupted runs keep the cases that were complete: --append goes on.
"""


ROUNDS = {(False, False): 15, (False, True): 5, (True, False): 25, (True, True): 9}  # with a baseline, quick


def words(text):
    return [word for word in text.split(",") if word]


def thread_counts(text):
    try:
        counts = [int(word) for word in words(text)]
    except ValueError:
        counts = []
    most = len(parties.allowed_processors())
    if not counts or not all(1 <= count <= most for count in counts):
        raise argparse.ArgumentTypeError(f"'{text}' must be numbers from 1 to {most}, separated by commas")
    return list(dict.fromkeys(counts))


def positive(text):
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' must be a whole number, 1 or more")
    return value


def ratio(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' must be a number above 0")
    return value


def peer_keys(text):
    keys = words(text)
    for key in keys:
        if key not in installed.KEYS:
            raise argparse.ArgumentTypeError(f"'{key}' is no peer; there are {', '.join(installed.KEYS)}")
    return keys


def case_patterns(text):
    patterns = words(text)
    _, strangers = cases.choose(patterns)
    if strangers or not patterns:
        raise argparse.ArgumentTypeError(f"'{strangers[0] if strangers else text}' matches no case; see --list")
    return patterns


def parser():
    made = argparse.ArgumentParser(prog="compare", description=__doc__, epilog=EXAMPLES,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--cases", type=case_patterns, metavar="NAMES",
                      help="names or globs of cases, separated by commas")
    made.add_argument("--peers", type=peer_keys, metavar="KEYS", help=f"of {', '.join(installed.KEYS)}; default: all")
    made.add_argument("--rounds", type=positive, help="per case; default: 15, 25 with --baseline, few with --quick")
    made.add_argument("--threads", type=thread_counts, help="a section of the report for each; default: all processors")
    made.add_argument("--quick", action="store_true", help="few cases, few rounds")
    made.add_argument("--output", type=pathlib.Path, metavar="DIR",
                      help="of the report; default: build/compare/report, with --baseline build/compare/baseline")
    made.add_argument("--append", action="store_true", help="keeps the cases that DIR/results.json has")
    made.add_argument("--report-only", action="store_true",
                      help="writes the report of DIR/results.json, measures nothing")
    made.add_argument("--no-install", action="store_true", help="only with what is installed already")
    made.add_argument("--build-dir", type=pathlib.Path, metavar="DIR",
                      help="a build with bench/xent_worker, used as it is; default: build/release, built first")
    made.add_argument("--baseline", metavar="PATH", help="another libxent.so, or a folder with one, in place of peers")
    made.add_argument("--fail-below", type=ratio, metavar="R",
                      help="with --baseline: exit status 1 if a regime's upper quartile of baseline / this is below R")
    made.add_argument("--list", action="store_true", help="prints the cases and peers")
    return made


def parse(words_given):
    made = parser()
    arguments = made.parse_args(words_given)
    if arguments.fail_below is not None and arguments.baseline is None:
        made.error(f"argument --fail-below: {arguments.fail_below:g} needs --baseline")
    if arguments.baseline is not None and arguments.peers is not None:
        made.error(f"argument --peers: '{','.join(arguments.peers)}' cannot be had with --baseline")
    if arguments.baseline is not None:
        try:
            arguments.baseline = baseline.library_file(arguments.baseline)
        except baseline.BaselineError as error:
            made.error(f"argument --baseline: {str(error).removeprefix('--baseline is ')}")
    folder = arguments.output or ROOT / "build" / "compare" / ("baseline" if arguments.baseline else "report")
    arguments.output = folder.resolve()
    if arguments.build_dir is not None and not (arguments.build_dir / "bench" / "xent_worker").is_file():
        made.error(f"argument --build-dir: '{arguments.build_dir}' has no bench/xent_worker")
    if (arguments.append or arguments.report_only) and not (folder / "results.json").is_file():
        option = "--append" if arguments.append else "--report-only"
        made.error(f"argument --output: '{folder}' has no results.json, which {option} needs")
    arguments.rounds = arguments.rounds or ROUNDS[arguments.baseline is not None, arguments.quick]
    arguments.threads = arguments.threads or [len(parties.allowed_processors())]
    return arguments


def print_list():
    for case in cases.CASES:
        print(case.name)
    print(f"\nquick: {' '.join(cases.QUICK)}\npeers: {' '.join(installed.KEYS)}")


def chosen_cases(arguments):
    patterns = arguments.cases or (list(cases.QUICK) if arguments.quick else ["*"])
    chosen, _ = cases.choose(patterns)
    return chosen


def worker_program(arguments, say):
    """bench/xent_worker, built if no build folder was named."""
    if arguments.build_dir is not None:
        return (arguments.build_dir / "bench" / "xent_worker").resolve()
    folder = ROOT / "build" / "release"
    say("building xent_worker")
    if (folder / "build.ninja").exists():
        command = ["cmake", "--build", str(folder), "--target", "xent_worker"]
    else:
        command = [str(ROOT / "tools" / "check"), "--build-only"]
    ended = subprocess.run(command, stdout=sys.stderr, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"compare: {' '.join(command)} ended with {ended.returncode}")
    return folder / "bench" / "xent_worker"


class Run:
    """The processes and results of one run of the command."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.progress = Progress(0)
        self.results = Results(arguments.output / "results.json")
        self.logs = arguments.output / "logs"
        self.inputs = parties.CaseInputs()
        self.parties = []
        self.links = None

    def close(self):
        self.stop_parties()
        self.inputs.close()
        if self.links is not None:
            self.links.cleanup()

    def stop_parties(self):
        for party in self.parties:
            party.stop()
        self.parties = []

    def measure(self):
        arguments = self.arguments
        if arguments.append:
            self.results.read()
        self.worker = worker_program(arguments, self.progress.say)
        self.logs.mkdir(parents=True, exist_ok=True)
        self.about()
        chosen = chosen_cases(arguments)
        plain = [case for case in chosen if case.regime != "scaling" or arguments.baseline]
        scaling = [case for case in chosen if case not in plain]
        self.progress.total = len(plain) * len(arguments.threads) + len(scaling)
        for threads in arguments.threads if plain else []:
            self.parties = self.two_builds(threads) if arguments.baseline else self.beside_peers(threads)
            self.measure_cases(plain, threads)
            self.stop_parties()
        if scaling:
            counts = self.scaling_counts()
            self.parties = [parties.xent_party(self.worker, n, self.logs, f"xent@{n}") for n in counts]
            self.measure_cases(scaling, counts[-1])
            self.stop_parties()
        self.progress.clear()

    def about(self):
        """The head of the report, as far as it is known before the first case."""
        party = parties.xent_party(self.worker, max(self.arguments.threads), self.logs)
        try:
            party.start()
        except parties.PartyFailed as failure:
            raise SystemExit(f"compare: {self.worker}: {failure}; see {party.log}") from failure
        told = party.about
        party.stop()
        cache = machine.last_level_cache_bytes()
        share = machine.available_bytes() // (2 * (1 + len(installed.PEERS)))
        self.footprint = min(2 * cache, parties.MOST_FOOTPRINT, share)
        kept = self.results.about
        self.results.about = {"machine": machine.describe(), "xent": told["version"], "isa": told["isa"],
                              "cache": cache, "footprint": self.footprint, "versions": kept.get("versions", {}),
                              "missing": kept.get("missing", {}), "roofs": kept.get("roofs", {})}
        self.own_library = told["library"]

    def scaling_counts(self):
        """Every count up to eight, then powers of two, and all processors."""
        most = len(parties.allowed_processors())
        return [n for n in range(1, most + 1) if n <= 8 or n & (n - 1) == 0 or n == most]

    def beside_peers(self, threads):
        """xent and every peer that starts; the others are named as missing."""
        arguments, about = self.arguments, self.results.about
        entries = [peer for peer in installed.PEERS if arguments.peers is None or peer.key in arguments.peers]
        environment = ROOT / "build" / "compare"
        reasons = {} if arguments.no_install else installed.install(environment, entries, self.progress.say)
        python = installed.python_of(environment)
        if "numpy" not in installed.versions_in(python):
            python = sys.executable
        started = [parties.xent_party(self.worker, threads, self.logs)]
        self.kinds = {"xent": (installed.SOFTMAX, installed.SIGMOID, installed.MAP)}
        for peer in entries:
            party = parties.peer_party(peer, python, threads, self.logs)
            try:
                party.start()
            except parties.PartyFailed as failure:
                party.stop()
                about["missing"][peer.title] = reasons.get(peer.key, str(failure))
                self.progress.say(f"{peer.title} is missing: {about['missing'][peer.title]}")
                continue
            about["versions"][peer.title] = party.about["version"]
            about["missing"].pop(peer.title, None)
            self.kinds[peer.key] = peer.kinds
            started.append(party)
        return started

    def two_builds(self, threads):
        library, about = self.arguments.baseline, self.results.about
        if self.links is None:
            self.links = baseline.folder_of_links(library, self.own_library)
        mine = parties.xent_party(self.worker, threads, self.logs)
        theirs = parties.xent_party(self.worker, threads, self.logs, "baseline", self.links.name)
        theirs.title = "baseline"
        for party, file in ((mine, pathlib.Path(self.own_library).resolve()), (theirs, library)):
            try:
                party.start()
                baseline.check_loaded(party, file)
            except (parties.PartyFailed, baseline.BaselineError) as failure:
                mine.stop()
                theirs.stop()
                raise SystemExit(f"compare: argument --baseline: '{library}': {failure}") from failure
        about["baseline"], about["baseline_isa"] = theirs.about["version"], theirs.about["isa"]
        return [mine, theirs]

    def measure_cases(self, chosen, threads):
        beside_peers = not self.arguments.baseline and chosen[0].regime != "scaling"
        for case in chosen:
            self.progress.start(case.name)
            if beside_peers:
                self.inputs.draw(case)
            taking_part = [p for p in self.parties if not beside_peers or case.kind in self.kinds[p.key]]
            began = time.monotonic()
            record = parties.measure(case, taking_part, self.arguments.rounds, self.footprint, self.inputs.folder,
                                     roof=beside_peers, both_orders=bool(self.arguments.baseline))
            record["threads"] = threads
            roofs = record["parties"].get("xent", {}).pop("roofs", None)
            if roofs:
                self.results.about["roofs"][str(threads)] = roofs
            self.results.add(record)
            self.results.write()
            spent = duration(time.monotonic() - began)
            self.progress.end(f"{case.name}, {report.thread_text(threads)}: {summary(record)} ({spent})")


def summary(record):
    """A case in a few words."""
    if "xent" not in record["parties"]:
        return "done"
    xent, rival = xent_of(record), best_peer(record)
    if not xent.times:
        return f"xent: {xent.note}"
    text = f"xent {report.cell(xent.times, 1e3)} ms"
    if rival is not None:
        text += f", {rival.title} {ratios(rival.times, xent.times).median:.2f} times that"
    strangers = [column.title for column in columns(record) if report.short_note(column) in ("wrong", "failed")]
    return text + (f"; not right: {', '.join(strangers)}" if strangers else "")


def write_report(arguments, results):
    """All files of the report, each of them whole."""
    compares_builds = "baseline" in results.about
    drawn = baseline.draw(results.records) if compares_builds else pictures.draw(results.records)
    for name, made in drawn.items():
        unfinished = arguments.output / f"{name}.unfinished"
        pictures.save(made, unfinished)
        os.replace(unfinished, arguments.output / name)
    text = (baseline if compares_builds else report).markdown(results, drawn)
    write_whole(arguments.output / "report.csv", report.comma_separated(results))
    write_whole(arguments.output / "report.md", text)
    print(arguments.output / "report.md")


def interrupt(*_):
    raise KeyboardInterrupt


def main(words_given=None):
    arguments = parse(words_given)
    if arguments.list:
        print_list()
        return 0
    signal.signal(signal.SIGTERM, interrupt)
    run = Run(arguments)
    try:
        if arguments.report_only:
            run.results.read()
        else:
            run.measure()
        write_report(arguments, run.results)
    except KeyboardInterrupt:
        run.progress.clear()
        print(f"compare: interrupted after {len(run.results.records)} cases; --append adds to {run.results.path}",
              file=sys.stderr)
        return 130
    finally:
        run.close()
    slow = baseline.below(run.results.records, arguments.fail_below) if arguments.fail_below else []
    for sentence in slow:
        print(f"compare: {sentence}", file=sys.stderr)
    return 1 if slow else 0
