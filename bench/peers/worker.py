"""One peer in one process: reads a request per line, words separated by tabs, and answers each with a line of JSON.

    python3 -m peers.worker MODULE THREADS

Requests are those of bench/worker.cc: about; prepare NAME=VALUE...; run FORM; drop.
"""

import gc
import importlib
import json
import math
import os
import resource
import sys
import time

import numpy as np

from peers.cases import Case
from peers.inputs import Inputs, to_double
from peers.memory import touch_pages
from peers.peer import Unsupported

COLD_SAMPLE_SECONDS = 200e-6  # shorter calls are timed in batches of about so long
WARM_SAMPLE_SECONDS = 2e-3
MOST_CALLS = 100000
TRIES = 3
# Wide bounds, which only keep wrong answers from being timed: of the loss, relative; of elements of the gradient,
# relative to the largest possible one; of functions, in ULP.
BOUNDS = {"f32": 1e-4, "f64": 1e-10, "bf16": 2e-2, "f16": 4e-3}
F16_SUBNORMAL = 2e-7
FUNCTION_BOUND_ULP = 16


def loss_errors(case, inputs, peer, value):
    """Errors by what they are of."""
    loss, gradient = value
    want = float(inputs["loss"])
    errors = {"loss": abs(float(peer.numpy(loss)) - want) / abs(want)}
    if case.output == "loss":
        return errors
    got, where = to_double(np.asarray(peer.numpy(gradient))), inputs["where"]
    if case.kind == "softmax":
        got = got.reshape(*case.shape[:2], -1)
        got, largest = np.stack([got[n, :, i] for n, i in where]), 1 / case.rows
    else:
        got, largest = got[where], 1 / case.elements
    errors["gradient"] = float(np.abs(got - inputs["gradient"]).max()) / largest
    return errors


def function_errors(inputs, peer, value):
    got, want = np.asarray(peer.numpy(value)), inputs["values"]
    unit = np.spacing(np.abs(want).astype(got.dtype)).astype(np.longdouble)
    return {"ulp": float((np.abs(got.astype(np.longdouble) - want) / unit).max())}


def bound_of(case, what):
    if what == "ulp":
        return FUNCTION_BOUND_ULP
    flushed = F16_SUBNORMAL * case.rows if case.dtype == "f16" and what == "gradient" else 0
    return BOUNDS[case.dtype] + flushed


class Worker:
    def __init__(self, module, threads):
        self.peer = importlib.import_module(f"peers.{module}").Peer(threads)
        self.drop({})

    def about(self, _):
        return {"version": self.peer.version()}

    def drop(self, _):
        self.forms, self.calls, self.slots, self.next, self.is_cold = {}, {}, 1, 0, False
        gc.collect()
        return {}

    def prepare(self, fields):
        self.drop({})
        case = Case(fields["regime"], fields["output"], fields["dtype"], tuple(map(int, fields["shape"].split("x"))))
        inputs = Inputs(fields["inputs"])
        moved = case.input_bytes + (0 if case.output == "loss" else case.logit_bytes)
        self.slots = 1 if case.warm else max(3, -(-int(fields["footprint"]) // moved)) | 1
        try:
            errors, wrong = self.prepare_forms(case, inputs)
        except Unsupported as reason:
            self.drop({})
            return {"skip": str(reason)}
        for name in self.forms:
            self.seconds(name, 1)
            wanted = (WARM_SAMPLE_SECONDS if case.warm else COLD_SAMPLE_SECONDS) / self.seconds(name, 1)
            self.calls[name] = min(max(1, math.ceil(wanted)), MOST_CALLS if case.warm else max(1, self.slots // 4))
        self.is_cold = not case.warm
        return {"forms": list(self.forms), "errors": errors, "wrong": wrong, "slots": self.slots, "calls": self.calls}

    def prepare_forms(self, case, inputs):
        """Leaves the forms whose answers are right; the errors of all, and a sentence for each that is wrong."""
        if case.kind == "map":
            checked = self.peer.prepare(case, inputs["arguments"], None, 1)
            errors = {name: function_errors(inputs, self.peer, form(0)) for name, form in checked.items()}
            del checked
            self.forms = self.peer.prepare(case, inputs["x"], None, self.slots)
        else:
            self.forms = self.peer.prepare(case, inputs["x"], inputs["targets"], self.slots)
            errors = {name: loss_errors(case, inputs, self.peer, form(0)) for name, form in self.forms.items()}
        wrong = {}
        for name, found in errors.items():
            excess = [f"error of the {what} {error:.2g}" if what != "ulp" else f"error {error:.3g} ULP"
                      for what, error in found.items() if not error <= bound_of(case, what)]
            if excess:
                wrong[name] = ", ".join(excess)
                self.forms.pop(name)
        return errors, wrong

    def seconds(self, name, calls):
        """Of a call, over copies of the data that follow each other round the ring. Results are freed untimed."""
        form, first = self.forms[name], self.next
        self.next = (first + calls) % self.slots
        if hasattr(form, "seconds"):
            return form.seconds(first, calls) / calls
        slots = [(first + i) % self.slots for i in range(calls)]
        value = None
        start = time.perf_counter()
        for slot in slots:
            value = form(slot)
        seconds = time.perf_counter() - start
        del value
        return seconds / calls

    def run(self, name):
        """One untimed sample, so that threads and code are awake as they are in a program, then one that is timed.

        It is timed again, up to three times in all, while other programs interrupt it; then the fastest counts."""
        if self.is_cold:
            touch_pages()
        self.seconds(name, self.calls[name])
        tried = []
        for _ in range(TRIES):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
            tried.append(self.seconds(name, self.calls[name]))
            if resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw == before:
                return {"seconds": tried[-1]}
        return {"seconds": min(tried)}


def answer(worker, line):
    request, *words = line.rstrip("\n").split("\t")
    if request == "run":
        return worker.run(words[0])
    return getattr(worker, request)(dict(word.split("=", 1) for word in words))


def main():
    module, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    gc.disable()
    try:
        worker = Worker(module, threads)
    except Exception as error:
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        return
    for line in sys.stdin:
        try:
            result = answer(worker, line)
        except Exception as error:
            result = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
