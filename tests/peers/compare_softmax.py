"""Compares xent's presets with the libraries that they are named after, and both with the formulas in long double.

A case passes if xent's loss and gradient are within its bounds of the exact values (and so at most as far from the peer
as the peer is from them). Cases in which the peer is far off are listed: there it is the peer that is wrong.
"""

import argparse
import importlib
import itertools
import sys

import numpy as np
import xent

SKIPPED = 77  # what ctest takes for "not run"
NO_LABEL = -(2**63)


def to_bf16(values):
    bits = np.asarray(values, "f4").view("u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("u2")


def stored(values, dtype):
    """The words of a storage type, and what they are in long double."""
    if dtype == "bf16":
        words = to_bf16(values)
        return words, (words.astype("u4") << 16).view("f4").astype(np.longdouble)
    words = values.astype({"f16": "f2", "f32": "f4", "f64": "f8"}[dtype])
    return words, words.astype(np.longdouble)


class Exact:
    """Row losses, and the gradient of their reduction, classes on axis 1."""

    def __init__(self, x, target, case, denominator):
        x = np.moveaxis(x, 1, -1)
        weight = case["class_weight"].astype(np.longdouble)
        row_weight = case["row_weight"]
        if target.dtype.kind == "f":
            q = np.moveaxis(target, 1, -1).astype(np.longdouble)
            counted = np.ones(q.shape[:-1], bool)
            weights = row_weight.astype(np.longdouble)
        else:
            counted = target != case["ignore_index"]
            label = np.where(counted, target, 0)
            q = np.eye(x.shape[-1], dtype=np.longdouble)[label]
            weights = weight[label] * row_weight
        eps = np.longdouble(case["smoothing"])
        u = ((1 - eps) * q + eps / x.shape[-1]) * weight
        top = x.max(-1, keepdims=True)
        shifted = np.where(counted[..., None], x - top, 0)
        leader = shifted.argmax(-1)[..., None]
        e = np.exp(shifted)
        np.put_along_axis(e, leader, 0, -1)
        others = e.sum(-1, keepdims=True)
        np.put_along_axis(e, leader, 1, -1)
        p, rest = e / (1 + others), e.sum(-1, keepdims=True) - e
        rest = np.where(np.arange(x.shape[-1]) == leader, others, rest) / (1 + others)  # 1 - p
        with np.errstate(invalid="ignore"):
            gap = np.where(u > 0, u * (np.log1p(others) - shifted), 0)
        live = np.where(counted, row_weight, 0).astype(np.longdouble)
        self.rows = gap.sum(-1) * live
        count = {"rows": counted.sum(), "weight": np.where(counted, weights, 0).sum()}[denominator]
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = {xent.MEAN: 1 / np.longdouble(count), xent.SUM: 1, xent.NONE: 1}[case["reduction"]]
            self.total = self.rows.sum() * scale
        scale = scale if count != 0 else 0
        others_u = u.sum(-1, keepdims=True) - u
        self.gradient = np.moveaxis(scale * live[..., None] * (p * others_u - rest * u), -1, 1)
        self.size = np.moveaxis(scale * live[..., None] * (p * (others_u + u) + u), -1, 1)
        if case["smoothing"] == 0 and target.dtype.kind != "f":
            self.size = np.abs(self.gradient)


def within(found, exact, size, units, dtype, rounding=0):
    """Whether errors are no more than so many units of the last place of `size`, half as f32 or f64, and a rounding."""
    epsilon = np.longdouble(2) ** (-52 if dtype == "f64" else -23)
    tiny = np.longdouble(2) ** (-1022 if dtype == "f64" else -126)
    error = np.abs(np.asarray(found).astype(np.longdouble) - exact)
    same = np.asarray(found).astype(np.longdouble) == exact
    same |= np.isnan(exact) & np.isnan(np.asarray(found).astype(np.longdouble))
    return np.all(same | (error <= units * epsilon * np.abs(size) + tiny + rounding * np.abs(exact)))


def widened(words, dtype):
    return (words.astype("u4") << 16).view("f4") if dtype == "bf16" else words


class Torch:
    name, preset = "PyTorch", xent.TORCH

    def __init__(self):
        self.torch = importlib.import_module("torch")

    def denominator(self, dense):
        return "rows" if dense else "weight"

    def cases(self, random):
        shapes = [(9, 7), (4, 5, 6), (2, 11, 3, 4), (5, 33)]
        for dtype, shape, reduction, weighted, smoothing, ignore, dense, confident in itertools.product(
                ("f32", "f64", "bf16", "f16"), shapes, (xent.MEAN, xent.SUM, xent.NONE), (False, True), (0.0, 0.1),
                (-100, 2), (False, True), (False, True)):
            if dense and ignore != -100:
                continue
            yield make_case(random, dtype, shape, reduction, weighted, False, smoothing, ignore, dense, confident)

    def run(self, case):
        torch = self.torch
        kinds = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}
        kind = kinds[case["dtype"]]
        x = torch.tensor(case["values"], dtype=torch.float64).to(kind).requires_grad_()
        target = torch.tensor(case["target"])
        target = target.to(kind) if case["dense"] else target
        loss = torch.nn.functional.cross_entropy(
            x, target, weight=torch.tensor(case["class_weight"]).to(kind) if case["weighted"] else None,
            ignore_index=case["ignore_index"], label_smoothing=case["smoothing"],
            reduction={xent.MEAN: "mean", xent.SUM: "sum", xent.NONE: "none"}[case["reduction"]])
        loss.sum().backward()
        return loss.detach().double().numpy(), x.grad.double().numpy()


class Optax:
    name, preset = "optax", xent.OPTAX

    def __init__(self):
        self.optax = importlib.import_module("optax")
        self.jax = importlib.import_module("jax")

    def denominator(self, dense):
        return "weight"

    def cases(self, random):
        for shape, dense, confident in itertools.product([(9, 7), (5, 33), (64, 10)], (False, True), (False, True)):
            yield make_case(random, "f32", shape, xent.NONE, False, False, 0.0, NO_LABEL, dense, confident)

    def run(self, case):
        function = (self.optax.softmax_cross_entropy if case["dense"]
                    else self.optax.softmax_cross_entropy_with_integer_labels)
        x = self.jax.numpy.asarray(case["values"], "float32")
        target = self.jax.numpy.asarray(case["target"].astype("f4" if case["dense"] else "i4"))
        gradient = self.jax.grad(lambda x: function(x, target).sum())(x)
        return np.asarray(function(x, target), "f8"), np.asarray(gradient, "f8")


class Sklearn:
    name, preset = "scikit-learn", xent.SKLEARN

    def __init__(self):
        self.metrics = importlib.import_module("sklearn.metrics")

    def denominator(self, dense):
        return "weight"

    def cases(self, random):
        for shape, row_weighted, confident in itertools.product([(9, 7), (5, 33), (64, 10)], (False, True), (False, True)):
            yield make_case(random, "f64", shape, xent.MEAN, False, row_weighted, 0.0, NO_LABEL, False, confident)

    def run(self, case):
        x = case["values"] - case["values"].max(axis=1, keepdims=True)
        p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
        loss = self.metrics.log_loss(case["target"], p, labels=np.arange(x.shape[1]), sample_weight=case["row_weight"])
        return np.asarray(loss), None


def make_case(random, dtype, shape, reduction, weighted, row_weighted, smoothing, ignore, dense, confident):
    rows, classes = shape[:1] + shape[2:], shape[1]
    values = random.normal(size=shape) * 3
    target = random.integers(0, classes, rows)
    if confident:  # the label leads by 20 to 40
        np.put_along_axis(values, np.expand_dims(target, 1), random.uniform(30, 45, np.expand_dims(target, 1).shape), 1)
    if ignore >= 0 or ignore == -100:
        target = np.where(random.uniform(size=rows) < 0.2, ignore, target) if not dense else target
    if dense:
        target = random.dirichlet(np.ones(classes), rows)
        target = np.ascontiguousarray(np.moveaxis(target, -1, 1))
        target = stored(target, dtype)[1].astype("f8")  # what the peer gets
    grain = {"f16": "f2", "f32": "f4", "f64": "f8", "bf16": "f2"}[dtype]
    class_weight = np.round(random.uniform(0.5, 2, classes) * 16) / 16 if weighted else np.ones(classes)
    row_weight = random.uniform(0.5, 2, rows) if row_weighted else np.ones(rows)
    words, exact = stored(values, dtype)
    return {"dtype": dtype, "words": words, "values": exact.astype("f8"), "exact": exact, "target": target,
            "dense": dense, "reduction": reduction, "weighted": weighted, "smoothing": smoothing,
            "ignore_index": ignore, "class_weight": class_weight.astype(grain).astype("f8"), "row_weight": row_weight,
            "row_weighted": row_weighted, "confident": confident, "shape": shape}


def describe(case):
    names = ("mean", "sum", "none")
    return (f"{case['dtype']} {case['shape']}, {'dense targets' if case['dense'] else 'labels'}, "
            f"{names[case['reduction']]}, smoothing {case['smoothing']}, weights {case['weighted']}, "
            f"ignore_index {case['ignore_index']}, {'confident' if case['confident'] else 'ordinary'}")


def run_xent(library, preset, case):
    options = library.options(preset, case["dense"])
    options.reduction = case["reduction"]
    options.ignore_index = case["ignore_index"]
    options.label_smoothing = case["smoothing"]
    arrays = {}
    if case["weighted"]:
        arrays["class_weight"] = case["class_weight"]
    if case["row_weighted"]:
        arrays["row_weight"] = case["row_weight"]
    return library.cross_entropy(case["words"], case["dtype"], case["target"], options, arrays)


class Comparison:
    def __init__(self, peer):
        self.peer, self.count, self.failed = peer, 0, []
        self.largest = 0.0  # difference between xent and the peer, of ordinary cases in f32 and f64
        self.wrong = []  # of the peer

    def compare(self, library, case):
        self.count += 1
        exact = Exact(case["exact"], case["target"], case, self.peer.denominator(case["dense"]))
        total, rows, gradient = run_xent(library, self.peer.preset, case)
        gradient = widened(gradient, case["dtype"])
        dtype = "f64" if case["dtype"] == "f64" else "f32"
        units = 6 if dtype == "f64" else 4
        rounding = {"bf16": 2.0**-8, "f16": 2.0**-10}.get(case["dtype"], 0)
        tiny = 2.0**-24 if case["dtype"] == "f16" else 0
        good = within(rows, exact.rows.reshape(-1), exact.rows.reshape(-1), units, dtype)
        good &= within(total, exact.total, exact.total, 8 if dtype == "f64" else 4, dtype)
        good &= within(gradient, exact.gradient, np.abs(exact.size) + tiny / 2.0**-23, 8 if dtype == "f64" else 4, dtype, rounding)
        if not good:
            self.failed.append(describe(case))
        self.look_at_peer(case, exact, total, rows, gradient)

    def look_at_peer(self, case, exact, total, rows, gradient):
        loss, peer_gradient = self.peer.run(case)
        mine, wanted = (rows.astype("f8"), exact.rows.reshape(-1)) if loss.ndim else (np.float64(total), exact.total)
        loss = loss.reshape(-1) if loss.ndim else loss
        self.note(case, "loss", loss, mine, wanted, wanted)
        if peer_gradient is not None:
            self.note(case, "gradient", peer_gradient, gradient.astype("f8"), exact.gradient, exact.size)

    def note(self, case, what, peer, mine, exact, size):
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.abs(peer - exact.astype("f8")) / np.maximum(np.abs(size.astype("f8")), 1e-300)
            apart = np.abs(peer - mine) / np.maximum(np.abs(size.astype("f8")), 1e-300)
        off, apart = np.nan_to_num(off, nan=0.0), np.nan_to_num(apart, nan=0.0)
        limit = {"bf16": 0.1, "f16": 0.02}.get(case["dtype"], 1e-3)
        at = np.unravel_index(np.argmax(off), np.shape(off))
        with np.errstate(invalid="ignore", divide="ignore"):
            own = abs(float(np.asarray(mine)[at]) - float(np.asarray(exact)[at])) / max(float(np.asarray(size)[at]), 1e-300)
        if off[at] > limit and own <= limit:
            values = (np.asarray(peer)[at], np.asarray(mine)[at], np.asarray(exact)[at])
            self.wrong.append((what, describe(case), *map(float, values)))
        elif not case["confident"] and case["dtype"] in ("f32", "f64"):
            self.largest = max(self.largest, float(np.max(apart)))


def report(comparison, listed):
    name = comparison.peer.name
    print(f"{name}: {comparison.count} cases, {len(comparison.failed)} in which xent is out of its bounds; largest "
          f"difference of ordinary f32 and f64 cases {comparison.largest:.2g} of the sum of an element's terms")
    for case in comparison.failed[:listed]:
        print(f"  FAILED {case}")
    print(f"  {name} is wrong, and xent is not, {len(comparison.wrong)} times; for example")
    seen = set()
    for what, case, peer, mine, exact in comparison.wrong:
        key = (what, case.split(" ")[0], "confident" in case, "dense" in case)
        if key in seen or len(seen) >= listed:
            continue
        seen.add(key)
        print(f"    {what}, {case}: {name} {peer:.9g}, xent {mine:.9g}, exact {exact:.9g}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", help="the shared library, libxent.so")
    parser.add_argument("--require", action="store_true", help="fail where a peer cannot be imported")
    parser.add_argument("--listed", type=int, default=12, help="examples that are printed (default: 12)")
    arguments = parser.parse_args()
    library = xent.Library(arguments.library)
    missing, failed, compared = [], 0, 0
    for peer_class in (Torch, Optax, Sklearn):
        try:
            peer = peer_class()
        except ImportError as error:
            missing.append(f"{peer_class.name} ({error})")
            continue
        comparison = Comparison(peer)
        for case in peer.cases(np.random.default_rng(1)):
            comparison.compare(library, case)
        report(comparison, arguments.listed)
        failed += len(comparison.failed)
        compared += 1
    if missing:
        print("not compared, because it cannot be imported: " + "; ".join(missing))
    if failed or (arguments.require and missing):
        return 1
    return 0 if compared else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
