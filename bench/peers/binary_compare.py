"""Binary cross-entropies and information measures beside PyTorch: one process, round by round, medians of the ratios.

xent makes one call with buffers that exist; PyTorch is called as its users call it, then backward, with its own
allocations. Results are compared first.
"""

import argparse
import pathlib
import statistics
import sys
import time

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "peers"))
import xent  # noqa: E402

F = torch.nn.functional


def focal(x, t):
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    p = torch.sigmoid(x)
    return (loss * (1 - (p * t + (1 - p) * (1 - t))) ** 2).mean()


def entropy(x):
    log_p = torch.log_softmax(x, 1)
    return -(log_p.exp() * log_p).sum(1).mean()


def cases(library, elements, rows, classes):
    """Name -> with_gradient -> (xent's call, PyTorch's function, its arguments)."""
    random = np.random.default_rng(1)
    x = (random.normal(size=(1, elements)) * 3).astype("f4")
    t = random.integers(0, 2, (1, elements)).astype("f4")
    p = random.uniform(0.001, 0.999, (1, elements)).astype("f4")
    u, v = (random.normal(size=(rows, classes)).astype("f4") for _ in range(2))
    pu, pv = (torch.softmax(torch.from_numpy(a), 1).numpy() for a in (u, v))
    binary, measure = xent.binary_call, xent.information_call
    mean = {"reduction": xent.MEAN}
    return {
        f"sigmoid, {elements} logits": (lambda g: binary(library, x, t, gradient=g)[0],
                                        F.binary_cross_entropy_with_logits, (x, t)),
        f"sigmoid focal, {elements} logits": (lambda g: binary(library, x, t, gradient=g, focal_gamma=2)[0], focal, (x, t)),
        f"binary, {elements} probabilities": (lambda g: binary(library, p, t, True, g)[0], F.binary_cross_entropy, (p, t)),
        f"entropy of {rows} x {classes} logits": (
            lambda g: measure(library, xent.ENTROPY, u, None, (xent.LOGITS,), g, **mean)[0], entropy, (u,)),
        f"entropy of {rows} x {classes} probabilities": (
            lambda g: measure(library, xent.ENTROPY, pu, None, (xent.PROBABILITIES,), g, **mean)[0],
            lambda p: torch.special.entr(p).sum(1).mean(), (pu,)),
        f"KL of {rows} x {classes} logits": (
            lambda g: measure(library, xent.KL, u, v, (xent.LOGITS,), g, **mean)[0],
            lambda u, v: F.kl_div(torch.log_softmax(v, 1), torch.log_softmax(u, 1), reduction="batchmean", log_target=True),
            (u, v)),
        f"KL of {rows} x {classes} probabilities": (
            lambda g: measure(library, xent.KL, pu, pv, (xent.PROBABILITIES,), g, **mean)[0],
            lambda u, v: F.kl_div(v.log(), u, reduction="batchmean"), (pu, pv)),
    }


def peer(function, arrays, with_gradient):
    tensors = [torch.from_numpy(a) for a in arrays]
    if not with_gradient:
        return lambda: float(function(*tensors))
    leaf = tensors[0].clone().requires_grad_()

    def run():
        leaf.grad = None
        loss = function(leaf, *tensors[1:])
        loss.backward()
        return float(loss.detach())
    return run


def milliseconds(function):
    begin = time.perf_counter()
    function()
    return 1e3 * (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default="build/release/lib/libxent.so")
    parser.add_argument("--elements", type=int, default=1 << 24)
    parser.add_argument("--rows", type=int, default=512)
    parser.add_argument("--classes", type=int, default=32000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    library = xent.Library(arguments.library)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {arguments.rounds} rounds")
    print("| | xent | ratio | with gradient | ratio |\n| --- | --- | --- | --- | --- |")
    for name, (make, function, arrays) in cases(library, arguments.elements, arguments.rows, arguments.classes).items():
        cells = []
        for with_gradient in (False, True):
            mine, theirs = make(with_gradient), peer(function, arrays, with_gradient)
            if not abs(mine() - theirs()) <= 1e-3 * abs(mine()):
                raise SystemExit(f"{name}: xent gives {mine()}, PyTorch {theirs()}")
            pairs = [(milliseconds(mine), milliseconds(theirs)) for _ in range(arguments.rounds)]
            ratios = sorted(b / a for a, b in pairs)
            quarter = len(ratios) // 4
            cells += [f"{statistics.median(a for a, _ in pairs):.3g} ms",
                      f"{statistics.median(ratios):.2g} [{ratios[quarter]:.2g} {ratios[-1 - quarter]:.2g}]"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
