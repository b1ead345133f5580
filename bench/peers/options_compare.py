"""Options, images and functions of logits beside PyTorch: one process, round by round, medians of the ratios.

xent makes one call with buffers that exist; PyTorch is called as its users call it (cross_entropy and what its
documentation suggests for the rest, then backward), with its own allocations. Results are compared first.
"""

import argparse
import ctypes
import pathlib
import statistics
import sys
import time

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "peers"))
import xent  # noqa: E402

CROSS_ENTROPY = torch.nn.functional.cross_entropy


def focal(x, y):
    nll = CROSS_ENTROPY(x, y, reduction="none")
    return ((1 - torch.exp(-nll)) ** 2 * nll).mean()


def with_entropy(x, y):
    log_p = torch.log_softmax(x, 1)
    return CROSS_ENTROPY(x, y) + 0.01 * (log_p.exp() * log_p).sum(1).mean()


# Name: options of xent, and the same in PyTorch of logits, labels, dense targets and class weights.
VARIANTS = {
    "plain": ({}, lambda x, y, d, w: CROSS_ENTROPY(x, y)),
    "class weights": ({"class_weight": True}, lambda x, y, d, w: CROSS_ENTROPY(x, y, weight=w)),
    "smoothing": ({"label_smoothing": 0.1}, lambda x, y, d, w: CROSS_ENTROPY(x, y, label_smoothing=0.1)),
    "z-loss": ({"z_loss": 1e-4}, lambda x, y, d, w: CROSS_ENTROPY(x, y) + 1e-4 * (torch.logsumexp(x, 1) ** 2).mean()),
    "focal": ({"focal_gamma": 2.0}, lambda x, y, d, w: focal(x, y)),
    "dense targets": ({"dense": True}, lambda x, y, d, w: CROSS_ENTROPY(x, d)),
    "scale": ({"scale": 0.7}, lambda x, y, d, w: CROSS_ENTROPY(0.7 * x, y)),
    "softcap": ({"softcap": 30.0}, lambda x, y, d, w: CROSS_ENTROPY(30 * torch.tanh(x / 30), y)),
    "entropy weight": ({"entropy_weight": 0.01}, lambda x, y, d, w: with_entropy(x, y)),
}


# Functions of rows and what xent calls them: "loss + gradient" is the function and then its gradient.
FUNCTIONS = {"softmax": torch.softmax, "log-softmax": torch.log_softmax}


class Case:
    """One shape, [N, C] or [N, C, H, W], in buffers that both share."""

    def __init__(self, library, shape, threads):
        self.library, self.threads = library, threads
        random = np.random.default_rng(1)
        self.x = random.normal(size=shape).astype("f4")
        rows = shape[:1] + shape[2:]
        self.y = random.integers(0, shape[1], rows)
        self.w = random.uniform(0.5, 2, shape[1]).astype("f4")
        self.gradient = np.zeros_like(self.x)
        self.total = ctypes.c_double()
        self.tensors = [torch.from_numpy(a) for a in (self.x, self.y)]
        self.d = None

    def dense(self):
        if self.d is None:
            self.d = torch.softmax(torch.randn(self.x.shape), 1).contiguous()
        return self.d

    def xent(self, settings, with_gradient):
        options = self.library.options(xent.TORCH, "dense" in settings)
        options.num_threads = self.threads
        for name, value in settings.items():
            if name == "class_weight":
                options.class_weight = self.w.ctypes.data
            elif name != "dense":
                setattr(options, name, value)
        outer, classes = self.x.shape[:2]
        inner = int(np.prod(self.x.shape[2:], dtype=np.int64))
        strides = (classes * inner, inner, 1)
        logits = xent.Logits(self.x.ctypes.data, 1, 0, outer, classes, inner, *strides)
        data = self.dense().data_ptr() if "dense" in settings else self.y.ctypes.data
        kind, dtype = (2, 1) if "dense" in settings else (1, 22)
        targets = xent.Targets(ctypes.sizeof(xent.Targets), kind, data, dtype, 0)
        outputs = xent.Outputs(struct_size=ctypes.sizeof(xent.Outputs), total=ctypes.addressof(self.total),
                               gradient=self.gradient.ctypes.data if with_gradient else None)
        call = self.library.library.xent_softmax_cross_entropy
        references = [ctypes.byref(s) for s in (logits, targets, options, outputs)]
        return lambda: self.library.check(call(*references))

    def logits(self, array):
        rows, classes = self.x.shape
        return xent.Logits(array.ctypes.data, 1, 0, rows, classes, 1, classes, 1, 1)

    def xent_function(self, name, with_gradient):
        """A function of rows, into self.result, and of self.upstream its gradient."""
        self.result, self.upstream = np.zeros_like(self.x), self.w[None, :] * np.ones_like(self.x)
        options = self.library.options(xent.TORCH, False)
        options.num_threads, options.ignore_index = self.threads, -100
        forward = getattr(self.library.library, f"xent_{name.replace('-', '_')}")
        backward = getattr(self.library.library, f"xent_{name.replace('-', '_')}_backward")
        x, y, of = (ctypes.byref(s) for s in (self.logits(self.x), self.logits(self.result), options))
        addresses = [ctypes.c_void_p(a.ctypes.data) for a in (self.result, self.upstream, self.gradient)]

        def run():
            self.library.check(forward(x, of, addresses[0]))
            if with_gradient:
                self.library.check(backward(y, of, addresses[1], addresses[2]))
        return run

    def torch_function(self, name, with_gradient):
        if not with_gradient:
            return lambda: FUNCTIONS[name](self.tensors[0], 1)
        leaf, upstream = self.tensors[0].clone().requires_grad_(), torch.from_numpy(self.upstream)

        def run():
            leaf.grad = None
            FUNCTIONS[name](leaf, 1).backward(upstream)
            return leaf.grad
        return run

    def torch(self, function, with_gradient, dense):
        x, y = self.tensors
        d, w = (self.dense() if dense else None), torch.from_numpy(self.w)
        if not with_gradient:
            return lambda: function(x, y, d, w)
        leaf = x.clone().requires_grad_()

        def run():
            leaf.grad = None
            loss = function(leaf, y, d, w)
            loss.backward()
            return loss.detach()
        return run


def milliseconds(function):
    begin = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - begin)


def functions(case, name, with_gradient):
    """What both call for a function of rows."""
    mine, theirs = case.xent_function(name, with_gradient), case.torch_function(name, with_gradient)
    mine()
    found = case.gradient if with_gradient else case.result
    if not np.allclose(found, theirs().numpy(), rtol=1e-3, atol=1e-5):
        raise SystemExit(f"{name}: xent and PyTorch differ")
    return mine, theirs


def losses(case, name, with_gradient):
    """The same for a loss with options."""
    settings, function = VARIANTS[name]
    mine = case.xent(settings, with_gradient)
    theirs = case.torch(function, with_gradient, "dense" in settings)
    mine()
    other = float(theirs())
    if not abs(case.total.value - other) <= 1e-3 * abs(other):
        raise SystemExit(f"{name}: xent gives {case.total.value}, PyTorch {other}")
    return mine, theirs


def compare(case, name, with_gradient, rounds):
    mine, theirs = (functions if name in FUNCTIONS else losses)(case, name, with_gradient)
    pairs = [(milliseconds(mine), milliseconds(theirs)) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    quarter = len(ratios) // 4
    return (statistics.median(a for a, _ in pairs), statistics.median(ratios), ratios[quarter], ratios[-1 - quarter])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="libxent.so")
    parser.add_argument("--shapes", nargs="*", default=["512x32000", "1048576x10", "8x21x512x512", "1x150x512x512"],
                        help="ROWSxCLASSES, or IMAGESxCLASSESxHEIGHTxWIDTH (these: plain only)")
    parser.add_argument("--variants", nargs="*", choices=[*VARIANTS, *FUNCTIONS],
                        default=[*VARIANTS, *FUNCTIONS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    library = xent.Library(arguments.library)
    print("| shape, f32 | asked for | xent loss | ratio | xent loss + gradient | ratio |\n| --- | --- | --- | --- | --- | --- |")
    for text in arguments.shapes:
        shape = tuple(int(n) for n in text.split("x"))
        case = Case(library, shape, arguments.threads)
        for name in arguments.variants if len(shape) == 2 else ["plain"]:
            cells = []
            for with_gradient in (False, True):
                ms, ratio, low, high = compare(case, name, with_gradient, arguments.rounds)
                cells.append(f"{ms:.2f} ms | {ratio:.1f} [{low:.1f} {high:.1f}]")
            print(f"| {text} | {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
