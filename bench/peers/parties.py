"""The driver: one process per party, and rounds in which they take turns, one timed call each.

Nobody computes but the one whose turn it is: a turn begins when every thread of the one before sleeps (threads of
OpenMP and of other pools spin for a while after their work). Wait policies are left as users have them.
"""

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import tempfile
import time

from peers import inputs

PATIENCE_S = 900  # for an answer; compilers take their time
SETTLE_S = 0.25
MOST_FOOTPRINT = 3 << 29  # 1.5 GB
BENCH = pathlib.Path(__file__).resolve().parents[1]


class PartyFailed(Exception):
    """The process ended, or did not answer, or said what it could not do."""


def allowed_processors():
    return sorted(os.sched_getaffinity(0))


def running_threads(pid):
    """Threads of a process that run or could, by the system's list; 0 where there is none."""
    running = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/stat", encoding="ascii", errors="replace") as stat:
                running += stat.read().rpartition(")")[2].split()[0] == "R"
    except (OSError, IndexError):
        pass
    return running


class Party:
    """A process that answers requests; started when it is first asked, and again after it has ended."""

    def __init__(self, key, title, command, threads, environment, log):
        self.key, self.title, self.threads = key, title, threads
        self.command, self.environment, self.log = command, environment, log
        self.process = None
        self.about = None

    def start(self):
        environment = dict(os.environ, OMP_NUM_THREADS=str(self.threads), MKL_NUM_THREADS=str(self.threads),
                           **self.environment)
        environment["PYTHONPATH"] = str(BENCH)
        processors = allowed_processors()[:self.threads]
        with open(self.log, "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
                start_new_session=True, preexec_fn=lambda: os.sched_setaffinity(0, processors))
        self.about = self.ask("about")

    def ask(self, request, *words, **fields):
        """The answer to a request as a dictionary."""
        if self.process is None:
            self.start()
        line = "\t".join([request, *words, *(f"{name}={value}" for name, value in fields.items())])
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
            text = self.process.stdout.readline() if ready else ""
        except OSError:
            text = ""
            ready = True
        if not text:
            self.stop()
            raise PartyFailed("its process ended" if ready else f"no answer within {PATIENCE_S} s")
        answer = json.loads(text)
        if "failed" in answer:
            raise PartyFailed(answer["failed"])
        return answer

    def drop(self):
        """Lets go of the case, if there is a process that holds one."""
        try:
            if self.process is not None:
                self.ask("drop")
        except PartyFailed:
            self.stop()

    def settle(self):
        """Waits until all its threads sleep; False if they still do not after a quarter of a second."""
        deadline = time.monotonic() + SETTLE_S
        while self.process is not None and running_threads(self.process.pid) > 0:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True

    def stop(self):
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


def xent_party(worker, threads, logs, key="xent", library_folder=None):
    """The library and the roofs; another build of it if its folder is given."""
    environment = {"OMP_PROC_BIND": "false"}  # xent_worker binds its threads itself
    if library_folder:
        environment["LD_LIBRARY_PATH"] = str(library_folder)
    return Party(key, "xent", [str(worker), str(threads)], threads, environment, logs / f"{key}.log")


def peer_party(peer, python, threads, logs):
    command = [str(python), "-B", "-m", "peers.worker", peer.module, str(threads)]
    return Party(peer.key, peer.title, command, threads, peer.environment, logs / f"{peer.key}.log")


class CaseInputs:
    """A folder with the inputs of one case at a time, in memory where the system has room for files there."""

    def __init__(self):
        place = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2 << 30 else None
        self.folder = tempfile.mkdtemp(prefix="xent-compare-", dir=place)
        self.drawn = None

    def draw(self, case):
        if self.drawn != case:
            inputs.draw(case, self.folder)
            self.drawn = case

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def prepare(party, case, footprint, roof, folder):
    """What the party can run of the case; why not, if it cannot."""
    try:
        return party.ask("prepare", regime=case.regime, kind=case.kind, output=case.output, dtype=case.dtype,
                         shape=case.size, warm=int(case.warm), fit=int(case.regime == "scaling"), roof=int(roof),
                         footprint=footprint, inputs=folder)
    except PartyFailed as failure:
        return {"failed": str(failure)}


def take_turns(parties, told, rounds, seconds):
    """Rounds over a case that every party holds: adds to the seconds of its forms. How often somebody did not rest."""
    turns = [(party, form) for party in parties for form in told[party.key].get("forms", [])]
    restless = 0
    for _ in range(rounds):
        previous = None
        for party, form in turns:
            if previous not in (None, party):
                restless += not previous.settle()
            previous = party
            if "failed" in told[party.key]:
                continue
            try:
                seconds[party.key].setdefault(form, []).append(party.ask("run", form)["seconds"])
            except PartyFailed as failure:
                told[party.key]["failed"] = str(failure)
                previous = None
        if previous is not None:
            restless += not previous.settle()
    return restless


def measure(case, parties, rounds, footprint, folder, roof=True, both_orders=False):
    """Rounds over one case: seconds per party, form and round, with what each party said of itself. Both orders: half of
    the rounds with the case prepared by the last party first, since whoever takes its memory first is slower by some
    percent, whatever the order of the turns."""
    told, seconds, restless = {}, {party.key: {} for party in parties}, 0
    halves = [(parties, rounds - rounds // 2), (parties[::-1], rounds // 2)] if both_orders else [(parties, rounds)]
    for taking_part, share in halves:
        for party in taking_part:
            if "failed" not in told.get(party.key, {}):
                told[party.key] = prepare(party, case, footprint, roof and not case.warm, folder)
        restless += take_turns(taking_part, told, share, seconds)
        for party in taking_part:
            party.drop()
    result = {"case": case.name, "rounds": rounds, "restless": restless, "parties": {}}
    for party in parties:
        entry = {"title": party.title, "threads": party.threads, "seconds": seconds[party.key], **told[party.key]}
        if "failed" in entry:
            entry["seconds"] = {}
        result["parties"][party.key] = entry
    return result
