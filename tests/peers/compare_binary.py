"""Compares binary cross-entropies and information measures with PyTorch, optax, scikit-learn and SciPy, and all of
them with the formulas in long double. A case passes if xent's results are within its bounds of the exact values; cases
in which the peer is far off are listed.
"""

import argparse
import importlib
import itertools
import sys

import numpy as np
import xent

SKIPPED = 77  # what ctest takes for "not run"
Wide = np.longdouble


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def times(a, b):
    """a b, but 0 where a is."""
    with np.errstate(invalid="ignore"):
        return np.where(a == 0, 0, a * b)


def logits_exactly(x, t, w, u):
    x, t, w, u = (np.asarray(v, Wide) for v in (x, t, w, u))
    up, down = (1 - t) * sigmoid(x), u * t * sigmoid(-x)
    return w * (times(u * t, softplus(-x)) + times(1 - t, softplus(x))), w * (up - down), w * (up + down)


def probabilities_exactly(p, t, w):
    p, t, w = (np.asarray(v, Wide) for v in (p, t, w))
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
    size = (t * (1 - p) + (1 - t) * p) / np.maximum(p * (1 - p), Wide(1e-12))
    return -w * (times(t, logs[0]) + times(1 - t, logs[1])), w * (p - t) / np.maximum(p * (1 - p), Wide(1e-12)), w * size


class Report:
    def __init__(self, name):
        self.name, self.cases, self.failed, self.wrong, self.largest = name, 0, [], [], 0.0

    def units(self, found, exact, size):
        digits = 52 if found.dtype == np.float64 else 23
        tiny = 2.0**-1022 if found.dtype == np.float64 else 2.0**-126
        with np.errstate(invalid="ignore"):
            error = np.where(found.astype(Wide) == exact, 0, np.abs(found.astype(Wide) - exact))
        return np.max(error / (np.maximum(np.abs(size), tiny) * Wide(2) ** -digits))

    def add(self, what, mine, peer, exact, size, bound):
        """Of one quantity of a case; peer None: it has none."""
        self.cases += 1
        mine, exact, size = np.asarray(mine), np.asarray(exact), np.abs(np.asarray(size))
        if not self.units(mine, exact, size) <= bound:
            self.failed.append(f"{what}: {float(self.units(mine, exact, size)):.3g} units")
        if peer is None:
            return
        peer = np.asarray(peer, "f8").reshape(exact.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            tiny = 2.0**-126 if mine.dtype == np.float32 else 1e-300
            off = np.where(peer == exact, 0, np.abs(peer - exact) / np.maximum(size, tiny / 2.0**-10))
        off = np.nan_to_num(off.astype("f8"), nan=np.inf)
        at = np.unravel_index(np.argmax(off), off.shape)
        if off[at] > 1e-3:
            self.wrong.append((what, float(peer[at]), float(mine[at]), float(exact[at])))
        else:
            self.largest = max(self.largest, float(off[at]))

    def print(self, listed):
        print(f"{self.name}: {self.cases} comparisons, xent out of its bounds in {len(self.failed)}; largest difference "
              f"where the peer is right {self.largest:.2g} of a result's terms; the peer is wrong {len(self.wrong)} times")
        for failure in self.failed[:listed]:
            print(f"  FAILED {failure}")
        seen = set()
        for what, peer, mine, exact in self.wrong:
            key = what.split(":")[0]
            if key in seen or len(seen) >= listed:
                continue
            seen.add(key)
            print(f"    {what}: {self.name} {peer:.9g}, xent {mine:.9g}, exact {exact:.9g}")


def draw(random, shape, spread):
    x = random.normal(size=shape) * 3
    if spread != "ordinary":
        x = random.uniform(-80, 80, shape)
    hard = random.integers(0, 2, shape).astype("f8")
    return x, hard, random.uniform(size=shape)


def torch_report(library):
    torch = importlib.import_module("torch")
    functional, report = torch.nn.functional, Report("PyTorch")
    random = np.random.default_rng(1)

    def run(function, *arrays):
        leaf = torch.from_numpy(arrays[0].copy()).requires_grad_()
        loss = function(leaf, *map(torch.from_numpy, arrays[1:]))
        loss.sum().backward()
        return loss.detach().numpy(), leaf.grad.numpy()

    reductions = {xent.MEAN: "mean", xent.SUM: "sum", xent.NONE: "none"}
    for dtype, shape, spread, soft, weighted, positive, reduction in itertools.product(
            ("f4", "f8"), ((7, 5), (64, 33)), ("ordinary", "saturated"), (False, True), (False, True), (False, True),
            reductions):
        x, hard, mixed = draw(random, shape, spread)
        x, t = x.astype(dtype), (mixed if soft else hard).astype(dtype)
        w = random.uniform(0.5, 2, shape).astype(dtype) if weighted else np.ones(shape, dtype)
        u = random.uniform(0.5, 3, shape[1]).astype(dtype) if positive else np.ones(shape[1], dtype)
        scale = 1 / Wide(x.size) if reduction == xent.MEAN else 1
        name = f"{spread} {'soft' if soft else 'hard'} {dtype} {shape} {reductions[reduction]}"

        call, loss, slopes = xent.binary_call(library, x, t, reduction=reduction,
                                              arrays={"element_weight": w, "class_pos_weight": u})
        total = call()
        exact, gradient, size = logits_exactly(x, t, w, u)
        peer, peer_slopes = run(lambda x, t, w, u: functional.binary_cross_entropy_with_logits(
            x, t, weight=w, pos_weight=u, reduction=reductions[reduction]), x, t, w, u)
        report.add(f"logits loss {spread}: {name}", loss, peer if peer.ndim else None, exact, exact, 5)
        report.add(f"logits total {spread}: {name}", np.array([total]).astype(dtype), None if peer.ndim else peer,
                   np.array([exact.sum() * scale]), np.array([exact.sum() * scale]), 4)
        report.add(f"logits gradient {spread}: {name}", slopes, peer_slopes, gradient * scale,
                   size * scale if soft else gradient * scale, 6)

        p = np.clip(sigmoid(x.astype("f8")), 0, 1).astype(dtype)
        call, loss, slopes = xent.binary_call(library, p, t, probabilities=True, reduction=reduction,
                                              arrays={"element_weight": w})
        call()
        exact, gradient, size = probabilities_exactly(p, t, w)
        peer, peer_slopes = run(lambda p, t, w: functional.binary_cross_entropy(
            p, t, weight=w, reduction=reductions[reduction]), p, t, w)
        report.add(f"probabilities loss {spread}: {name}", loss, peer if peer.ndim else None, exact, exact, 5)
        report.add(f"probabilities gradient {spread}: {name}", slopes, peer_slopes, gradient * scale, size * scale, 6)
    for dtype, classes, spread, log_target in itertools.product(("f4", "f8"), (5, 100), (2, 1e-3), (False, True)):
        lp = random.normal(size=(9, classes))
        lq = lp + random.normal(size=lp.shape) * spread
        lp, lq = (v - np.log(np.exp(v).sum(1, keepdims=True)) for v in (lp, lq))
        target, q = (lp if log_target else np.exp(lp)).astype(dtype), lq.astype(dtype)
        call, rows, _, slopes = xent.information_call(library, xent.KL, target, q,
                                                      (xent.LOGS if log_target else xent.PROBABILITIES, xent.LOGS))
        call()
        wide = target.astype(Wide)
        p, log_p = (np.exp(wide), wide) if log_target else (wide, np.log(wide))
        terms = p * (log_p - q.astype(Wide))
        peer, peer_slopes = run(lambda q, t: functional.kl_div(q, t, reduction="none", log_target=log_target), q, target)
        name = f"kl_div, spread {spread}: {dtype} {classes} classes, log_target {log_target}"
        report.add(name, rows, peer.sum(1), terms.sum(1), terms.sum(1), 2 if dtype == "f4" else 1e7 if spread < 1 else 40)
        report.add("gradient of " + name, slopes, peer_slopes, -p, p, 4)
    return report


def optax_report(library):
    optax, jax = importlib.import_module("optax"), importlib.import_module("jax")
    report, random = Report("optax"), np.random.default_rng(2)
    for shape, spread, soft, gamma in itertools.product(((7, 5), (64, 33)), ("ordinary", "saturated"), (False, True),
                                                        (0, 0.5, 2)):
        x, hard, mixed = draw(random, shape, spread)
        x, t = x.astype("f4"), (mixed if soft else hard).astype("f4")
        call, loss, slopes = xent.binary_call(library, x, t, preset=xent.OPTAX, focal_gamma=gamma, arrays={})
        call()
        if gamma:
            def function(x, t=t, gamma=gamma):
                return optax.sigmoid_focal_loss(x, t, gamma=gamma)
        else:
            def function(x, t=t):
                return optax.sigmoid_binary_cross_entropy(x, t)
        peer, peer_slopes = function(x), jax.grad(lambda x, f=function: f(x).sum())(x)
        wide, target = x.astype(Wide), t.astype(Wide)
        exact, gradient, size = logits_exactly(x, t, 1, 1)
        rest = target * sigmoid(-wide) + (1 - target) * sigmoid(wide)
        slope = (1 - 2 * target) * sigmoid(wide) * sigmoid(-wide) / rest
        factor = rest**gamma
        of_factor = gamma * slope * exact
        name = f"{spread} {'soft' if soft else 'hard'} gamma {gamma}: {shape}"
        report.add("loss " + name, loss, peer, factor * exact, factor * exact, 5)
        report.add("gradient " + name, slopes, peer_slopes, factor * (gradient + of_factor),
                   factor * (size + np.abs(of_factor)), 6)
    return report


def scikit_report(library):
    metrics, report = importlib.import_module("sklearn.metrics"), Report("scikit-learn")
    random = np.random.default_rng(3)
    for rows, weighted, extreme in itertools.product((5, 100), (False, True), (False, True)):
        p, t = random.uniform(size=rows), random.integers(0, 2, rows).astype("f8")
        t[:2] = 0, 1
        if extreme:
            p[:3] = 0, 1, 1e-20
        w = random.uniform(0.5, 2, rows) if weighted else np.ones(rows)
        call, _, _ = xent.binary_call(library, p[:, None].copy(), t[:, None].copy(), probabilities=True, preset=xent.SKLEARN,
                                      denominator=2, denominator_value=w.sum(),
                                      arrays={"row_weight": w})
        clipped = np.clip(p, 2.0**-52, 1 - 2.0**-52).astype(Wide)
        exact = -(w * (times(t, np.log(clipped)) + times(1 - t, np.log1p(-clipped)))).sum() / w.sum()
        peer = metrics.log_loss(t, p, sample_weight=w if weighted else None)
        report.add(f"log_loss, extreme {extreme}: {rows} rows", np.array([call()]), np.array([peer]), np.array([exact]),
                   np.array([exact]), 8)
    return report


def scipy_report(library):
    special, report = importlib.import_module("scipy.special"), Report("SciPy")
    stats, distance = importlib.import_module("scipy.stats"), importlib.import_module("scipy.spatial.distance")
    random = np.random.default_rng(4)
    for classes, spread in itertools.product((3, 20, 300), (1, 1e-3, 1e-7)):
        p = random.dirichlet(np.ones(classes), 6)
        q = p * (1 + spread * random.uniform(-0.5, 0.5, p.shape))
        wide, other = p.astype(Wide), q.astype(Wide)
        call, rows, _, _ = xent.information_call(library, xent.ENTROPY, p, None, (xent.PROBABILITIES,))
        call()
        exact = -(wide * np.log(wide)).sum(1)
        report.add(f"entr: {classes}", rows, special.entr(p).sum(1), exact, exact, 4)
        report.add(f"stats.entropy: {classes}", rows, stats.entropy(p, axis=1), exact, exact, 4)
        call, rows, _, _ = xent.information_call(library, xent.KL, p, q, (xent.PROBABILITIES,))
        call()
        log = np.log1p((wide - other) / other)
        exact = (wide * log).sum(1)
        size = np.abs(wide * log - wide + other).sum(1) + np.abs((wide - other).sum(1))
        report.add(f"rel_entr, spread {spread}: {classes}", rows, special.rel_entr(p, q).sum(1), exact, size, 1e3)
        m = (wide + other) / 2
        half = wide - m
        exact = (wide * np.log1p(half / m) + other * np.log1p(-half / m)).sum(1) / 2
        call, rows, _, _ = xent.information_call(library, xent.JENSEN_SHANNON, p, q, (xent.PROBABILITIES,))
        call()
        if spread == 1:
            peer = distance.jensenshannon(p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True), axis=1) ** 2
            del peer  # normalises what it is given: another number
        report.add(f"Jensen-Shannon, spread {spread}: {classes}", rows, None, exact, exact, 1e5 if spread < 1 else 40)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library", help="the shared library, libxent.so")
    parser.add_argument("--require", action="store_true", help="fail where a peer cannot be imported")
    parser.add_argument("--listed", type=int, default=10, help="examples that are printed (default: 10)")
    arguments = parser.parse_args()
    library = xent.Library(arguments.library)
    missing, failed, compared = [], 0, 0
    for make in (torch_report, optax_report, scikit_report, scipy_report):
        try:
            report = make(library)
        except ImportError as error:
            missing.append(str(error))
            continue
        report.print(arguments.listed)
        failed += len(report.failed)
        compared += 1
    if missing:
        print("not compared, because it cannot be imported: " + "; ".join(missing))
    if failed or (arguments.require and missing):
        return 1
    return 0 if compared else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
