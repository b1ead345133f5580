"""xent binary: every option against NumPy in long double, written from the formulas; and what it refuses."""

import os
import unittest

import numpy as np
from harness import CommandCase


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def losses(x, t, eps=0, pos=1, gamma=0, alpha=None):
    x, t = x.astype(np.longdouble), t.astype(np.longdouble)
    t = (1 - np.longdouble(eps)) * t + np.longdouble(eps) / 2
    loss = pos * t * softplus(-x) + (1 - t) * softplus(x)
    p = 1 / (1 + np.exp(-x))
    loss = loss * (1 - (t * p + (1 - t) * (1 - p))) ** gamma
    return loss if alpha is None else loss * (alpha * t + (1 - alpha) * (1 - t))


def derivative(function, x):
    step = np.longdouble(2) ** -18
    x = x.astype(np.longdouble)
    return (function(x + step) - function(x - step)) / (2 * step)


class Binary(CommandCase):
    def setUp(self):
        super().setUp()
        random = np.random.default_rng(8)
        self.x = random.normal(size=(6, 5, 4)) * 4
        self.t = random.uniform(size=(6, 5, 4))
        self.hard = random.integers(0, 2, (6, 5, 4))
        self.save("x.npy", self.x)
        self.save("t.npy", self.t)
        self.save("hard.npy", self.hard)

    def check(self, function, targets, weight, *options):
        """Losses, total and gradient of a run with these options."""
        for name in ("l.npy", "g.npy"):
            self.remove(name)
        run = self.json("binary", "x.npy", targets, *options, "--loss", "l.npy", "--gradient", "g.npy")
        expected = weight * function(self.x)
        np.testing.assert_allclose(self.load("l.npy"), expected.astype(float), rtol=1e-13, atol=1e-300)
        np.testing.assert_allclose(run["sum"], float(expected.sum()), rtol=1e-13)
        np.testing.assert_allclose(run["loss"], float(expected.sum() / run["denominator"]), rtol=1e-13)
        gradient = weight * derivative(function, self.x) / run["denominator"]
        np.testing.assert_allclose(self.load("g.npy"), gradient.astype(float), rtol=1e-7, atol=1e-12)
        return run

    def load(self, name):
        return np.load(self.path(name))

    def remove(self, name):
        if os.path.exists(self.path(name)):
            os.remove(self.path(name))

    def test_targets_of_every_kind(self):
        run = self.check(lambda x: losses(x, self.t), "t.npy", 1)
        self.assertEqual((run["denominator"], run["counted"], run["ignored"]), (120, 120, 0))
        self.check(lambda x: losses(x, self.hard), "hard.npy", 1)
        for dtype in (bool, np.uint8, np.int16, np.float32):
            self.save("other.npy", self.hard.astype(dtype))
            self.check(lambda x: losses(x, self.hard), "other.npy", 1)

    def test_options(self):
        self.check(lambda x: losses(x, self.t, eps=0.2), "t.npy", 1, "--label-smoothing", "0.2")
        self.check(lambda x: losses(x, self.t, pos=2.5), "t.npy", 1, "--pos-weight", "2.5")
        self.check(lambda x: losses(x, self.t, gamma=2, alpha=0.25), "t.npy", 1, "--focal", 2, "--alpha", "0.25")
        self.check(lambda x: losses(x, self.hard, gamma=0.5), "hard.npy", 1, "--focal", "0.5", "--denominator", "7.5")

    def test_weights(self):
        random = np.random.default_rng(3)
        by_class, by_row = random.uniform(0, 2, 5), random.uniform(0, 2, (6, 4))
        by_element, pos = random.uniform(0, 2, (6, 5, 4)), random.uniform(0, 2, 5)
        for name, array in (("c", by_class), ("r", by_row), ("e", by_element), ("p", pos)):
            self.save(name + ".npy", array)
        self.check(lambda x: losses(x, self.t, pos=pos[None, :, None]), "t.npy",
                   by_class[None, :, None] * by_row[:, None, :] * by_element, "--axis", 1, "--class-weight", "c.npy",
                   "--row-weight", "r.npy", "--weight", "e.npy", "--class-pos-weight", "p.npy")

    def test_ignored_elements(self):
        for name, t, ignored in (("t2.npy", self.t.copy(), 0.25), ("h2.npy", self.hard.copy(), -1)):
            t[0, 1] = ignored
            self.save(name, t)
            counts = np.where(t == ignored, 0, 1)
            run = self.check(lambda x: losses(x, np.where(t == ignored, 0, t)), name, counts, "--ignore", ignored,
                             "--denominator", "counted")
            self.assertEqual((run["denominator"], run["counted"], run["ignored"]), (116, 116, 4))

    def test_probabilities(self):
        p = 1 / (1 + np.exp(-self.x / 12))  # far from 0 and 1, where differences tell little
        self.save("x.npy", p)
        self.x = p

        def function(q):
            return -(self.t * np.log(q) + (1 - self.t) * np.log1p(-q))

        self.check(function, "t.npy", 1, "--probabilities")
        self.save("ends.npy", np.array([0.0, 1.0, 0.5, 1.5, np.nan]))
        self.save("ones.npy", np.ones(5))
        run = self.json("binary", "ends.npy", "ones.npy", "--probabilities", "--log-rule", "clamp", "--loss", "l2.npy")
        np.testing.assert_array_equal(self.load("l2.npy"), [100, 0, -np.log(0.5), np.nan, np.nan])
        self.assertEqual((run["outside"], run["loss"]), (2, "NaN"))
        self.json("binary", "ends.npy", "ones.npy", "--probabilities", "--log-rule", "1e-7", "--loss", "l3.npy")
        np.testing.assert_allclose(self.load("l3.npy")[:3], [-np.log(1e-7), 1e-7, np.log(2)], rtol=1e-6)

    def test_a_loss_that_is_nan_is_explained(self):
        self.save("far.npy", self.t + 1)
        result = self.run_command("binary", "x.npy", "far.npy")
        self.assertEqual((result.returncode, result.stdout.split()[:2]), (0, ["loss", "NaN"]))
        self.assertIn("a target that counts is not in [0, 1]", result.stderr)

    def test_text(self):
        lines = self.text("binary", "x.npy", "t.npy").splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["loss", "counted", "ignored", "isa", "threads"])
        self.assertEqual(float(lines[0].split()[1]), self.json("binary", "x.npy", "t.npy")["loss"])

    def test_refusals(self):
        self.save("short.npy", np.zeros((6, 5)))
        self.save("two.npy", np.full((6, 5, 4), 2))
        self.assert_refused(1, ["binary", "x.npy", "short.npy"], "TARGETS", "3", "one target per element")
        self.assert_refused(1, ["binary", "x.npy", "two.npy"], "XENT_INVALID_LABEL", "labels[0] is 2")
        self.assert_refused(1, ["binary", "missing.npy", "t.npy"], "INPUTS", "missing.npy")
        self.assert_refused(2, ["binary", "x.npy", "t.npy", "--log-rule", "clamp"], "--log-rule", "--probabilities")
        self.assert_refused(2, ["binary", "x.npy", "t.npy", "--probabilities", "--focal", "2"], "--focal")
        self.assert_refused(2, ["binary", "x.npy", "t.npy", "--probabilities", "--alpha", "0.5"], "--alpha")
        self.assert_refused(2, ["binary", "x.npy", "hard.npy", "--ignore", "0.5"], "--ignore", "integers")
        self.assert_refused(2, ["binary", "x.npy", "t.npy", "--loss", "x.npy"], "x.npy")
        for flag, value in (("--focal", "-1"), ("--alpha", "2"), ("--pos-weight", "nan"), ("--label-smoothing", "1.5"),
                            ("--denominator", "0"), ("--denominator", "rows"), ("--log-rule", "0.7"), ("--ignore", "x")):
            self.assert_refused(2, ["binary", "x.npy", "t.npy", f"{flag}={value}"], flag, f'"{value}"')
        self.save("bad.npy", np.full(4, -1.0))
        self.assert_refused(1, ["binary", "x.npy", "t.npy", "--class-weight", "bad.npy"], "--class-weight", "-1")


if __name__ == "__main__":
    unittest.main()
