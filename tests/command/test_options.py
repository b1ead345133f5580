"""xent loss: targets, options, layouts and outputs, against NumPy in long double, written from the formulas."""

import unittest

import numpy as np
from harness import CommandCase


def softmax_parts(z):
    """log-sum-exp, probabilities and entropy over the last axis."""
    top = z.max(axis=-1, keepdims=True)
    lse = top + np.log(np.exp(z - top).sum(axis=-1, keepdims=True))
    p = np.exp(z - lse)
    entropy = -np.where(p > 0, p * (z - lse), 0).sum(axis=-1)
    return lse[..., 0], p, entropy


def loss_of(x, target, options):
    """Row losses, by the formula with everything on. `target` holds q, `label` classes or None."""
    z = x.astype(np.longdouble) * options.get("scale", 1)
    if "softcap" in options:
        z = options["softcap"] * np.tanh(z / options["softcap"])
    lse, p, entropy = softmax_parts(z)
    classes = x.shape[-1]
    eps = np.longdouble(options.get("smoothing", 0))
    label = options.get("label")
    if options.get("others"):
        u = np.full(x.shape, eps / (classes - 1))
        np.put_along_axis(u, label[..., None], 1 - eps, axis=-1)
    else:
        u = (1 - eps) * target + eps / classes
    u = u * options.get("class_weight", 1)
    cross = (u * (lse[..., None] - z)).sum(axis=-1)
    if "focal" in options:
        cross = cross * (1 - np.take_along_axis(p, label[..., None], axis=-1)[..., 0]) ** options["focal"]
    loss = cross + options.get("z_loss", 0) * lse**2 - options.get("entropy", 0) * entropy
    return options.get("row_weight", 1) * loss


def gradient_of(x, function):
    """Central differences of a sum of row losses: every row's element j at once."""
    x = x.astype(np.longdouble)
    gradient = np.zeros(x.shape, np.longdouble)
    step = np.longdouble(2) ** -18
    for j in range(x.shape[-1]):
        shift = np.zeros(x.shape[-1], np.longdouble)
        shift[j] = step
        gradient[..., j] = (function(x + shift) - function(x - shift)) / (2 * step)
    return gradient


class Options(CommandCase):
    def setUp(self):
        super().setUp()
        random = np.random.default_rng(5)
        self.x = random.normal(size=(7, 11)) * 3
        self.label = random.integers(0, 11, 7)
        self.one_hot = np.eye(11)[self.label]
        self.class_weight = random.uniform(0.5, 2, 11)
        self.row_weight = random.uniform(0.5, 2, 7)
        for name, array in (("x", self.x), ("y", self.label), ("w", self.class_weight), ("v", self.row_weight)):
            self.save(name + ".npy", array)

    def check(self, flags, options, target=None, inputs=("x.npy", "y.npy"), denominator=None):
        options = {"label": self.label, **options}
        target = self.one_hot if target is None else target
        losses = loss_of(self.x, target, options)
        result = self.json("loss", *inputs, "--row-loss", "rows.npy", "--gradient", "gradient.npy", *flags)
        denominator = len(self.x) if denominator is None else denominator
        np.testing.assert_allclose(np.load(self.path("rows.npy")), losses.astype("f8"), rtol=1e-12)
        self.assertAlmostEqual(result["sum"] / float(losses.sum()), 1, places=12)
        self.assertAlmostEqual(result["denominator"] / float(denominator), 1, places=12)
        self.assertAlmostEqual(result["loss"] * float(denominator) / float(losses.sum()), 1, places=12)
        gradient = gradient_of(self.x, lambda x: loss_of(x, target, options)) / denominator
        np.testing.assert_allclose(np.load(self.path("gradient.npy")), gradient.astype("f8"), rtol=1e-7, atol=1e-8)
        return result

    def test_each_option(self):
        weights = self.class_weight[self.label].sum()
        cases = {
            "class weights": (["--class-weight", "w.npy"], {"class_weight": self.class_weight}, weights),
            "row weights": (["--row-weight", "v.npy"], {"row_weight": self.row_weight}, self.row_weight.sum()),
            "smoothing": (["--label-smoothing", 0.2], {"smoothing": 0.2}, None),
            "smoothing of others": (["--label-smoothing", 0.2, "--smooth-others"], {"smoothing": 0.2, "others": True}, None),
            "z-loss": (["--z-loss", 0.01], {"z_loss": 0.01}, None),
            "softcap": (["--softcap", 4], {"softcap": 4}, None),
            "scale": (["--scale", 0.3], {"scale": 0.3}, None),
            "focal": (["--focal", 1.5], {"focal": 1.5}, None),
            "entropy": (["--entropy-weight", 0.1], {"entropy": 0.1}, None),
            "rows": (["--denominator", "rows", "--class-weight", "w.npy"], {"class_weight": self.class_weight}, 7),
            "a number": (["--denominator", 12.5], {}, 12.5),
        }
        for name, (flags, options, denominator) in cases.items():
            with self.subTest(name):
                self.check(flags, options, denominator=denominator)

    def test_options_together(self):
        flags = ["--class-weight", "w.npy", "--row-weight", "v.npy", "--label-smoothing", 0.1, "--z-loss", 0.02,
                 "--scale", 0.5, "--softcap", 9, "--entropy-weight", 0.05, "--focal", 2]
        options = {"class_weight": self.class_weight, "row_weight": self.row_weight, "smoothing": 0.1, "z_loss": 0.02,
                   "scale": 0.5, "softcap": 9, "entropy": 0.05, "focal": 2}
        result = self.check(flags, options, denominator=(self.class_weight[self.label] * self.row_weight).sum())
        lse = softmax_parts(9 * np.tanh(self.x.astype(np.longdouble) * 0.5 / 9))[0]
        self.assertAlmostEqual(result["z_loss"] / float((self.row_weight * 0.02 * lse**2).sum()), 1, places=12)

    def test_dense_targets(self):
        target = np.random.default_rng(6).uniform(size=(7, 11))
        for kind in ("f2", "f4", "f8"):
            with self.subTest(kind):
                self.save("t.npy", target.astype(kind))
                self.check([], {}, target=target.astype(kind).astype("f8"), inputs=("x.npy", "--targets", "t.npy"))

    def test_weights_of_every_type_beside_logits_of_every_type(self):
        weights = np.round(self.class_weight * 8) / 8
        expected = loss_of(self.x.astype("f2"), self.one_hot, {"class_weight": weights}).sum()
        for kind in ("f2", "f4", "f8"):
            for logits in ("f2", "f4", "f8"):
                with self.subTest(kind=kind, logits=logits):
                    self.save("w.npy", weights.astype(kind))
                    self.save("x.npy", self.x.astype("f2").astype(logits))
                    result = self.json("loss", "x.npy", "y.npy", "--class-weight", "w.npy")
                    self.assertAlmostEqual(result["sum"] / float(expected), 1, places=6)

    def test_masks_and_masked_rows(self):
        self.x[2, :] = -np.inf
        self.save("x.npy", self.x)
        self.save("m.npy", np.array([1, 1, 1, 0, 1, 0, 1], bool))
        masked = self.json("loss", "x.npy", "y.npy", "--row-mask", "m.npy", explains="the loss is NaN: .*nothing but -inf")
        self.assertEqual(masked["loss"], "NaN")
        result = self.json("loss", "x.npy", "y.npy", "--row-mask", "m.npy", "--masked-row", "zero", "--reduction", "sum")
        kept = [0, 1, 4, 6]
        expected = loss_of(self.x[kept], self.one_hot[kept], {}).sum()
        self.assertAlmostEqual(result["loss"] / float(expected), 1, places=12)
        self.assertEqual((result["counted"], result["ignored"]), (5, 2))
        self.save("m.npy", np.zeros(7, "u1"))
        self.assertEqual(self.json("loss", "x.npy", "y.npy", "--row-mask", "m.npy", "--empty-mean", "zero")["loss"], 0)
        self.assert_refused(1, ["loss", "x.npy", "y.npy", "--row-mask", "m.npy", "--empty-mean", "error"], "no rows")

    def test_live_classes(self):
        self.x[:, 3] = -np.inf
        self.label[self.label == 3] = 4
        self.save("x.npy", self.x)
        self.save("y.npy", self.label)
        self.assertEqual(self.json("loss", "x.npy", "y.npy", "--label-smoothing", 0.1)["loss"], "Infinity")
        result = self.json("loss", "x.npy", "y.npy", "--label-smoothing", 0.1, "--live-classes")
        live = np.delete(self.x, 3, axis=1)
        labels = self.label - (self.label > 3)
        expected = loss_of(live, np.eye(10)[labels], {"smoothing": 0.1}).mean()
        self.assertAlmostEqual(result["loss"] / float(expected), 1, places=12)

    def test_classes_on_any_axis(self):
        images = np.random.default_rng(7).normal(size=(2, 5, 3, 4))
        for axis in (0, 1, 2, 3, -2):
            with self.subTest(axis):
                rows = np.moveaxis(images, axis, -1)
                label = np.random.default_rng(8).integers(0, rows.shape[-1], rows.shape[:-1])
                self.save("x.npy", images)
                self.save("y.npy", label)
                outputs = ["--row-loss", "rows.npy", "--gradient", "gradient.npy", "--lse", "lse.npy", "--entropy",
                           "entropy.npy", "--argmax", "argmax.npy", "--probability", "p.npy", "--log-probability", "log.npy"]
                result = self.json("loss", "x.npy", "y.npy", "--axis", axis, *outputs)
                lse, p, entropy = softmax_parts(rows.astype(np.longdouble))
                of_label = np.take_along_axis(p, label[..., None], axis=-1)[..., 0]
                expected = {"rows": -np.log(of_label), "lse": lse, "entropy": entropy, "p": of_label,
                            "log": np.log(of_label), "argmax": rows.argmax(axis=-1)}
                for name, values in expected.items():
                    np.testing.assert_allclose(np.load(self.path(name + ".npy")), values.astype("f8"), rtol=1e-12)
                gradient = (p - np.eye(rows.shape[-1])[label]) / label.size
                np.testing.assert_allclose(np.load(self.path("gradient.npy")),
                                           np.moveaxis(gradient, -1, axis).astype("f8"), rtol=1e-10, atol=1e-14)
                self.assertEqual(result["correct"], int((rows.argmax(axis=-1) == label).sum()))

    def test_one_row(self):
        self.save("x.npy", self.x[0])
        self.save("y.npy", self.label[0])
        expected = loss_of(self.x[:1], self.one_hot[:1], {}).sum()
        self.assertAlmostEqual(self.json("loss", "x.npy", "y.npy")["loss"] / float(expected), 1, places=12)

    def test_text_says_what_was_asked_for(self):
        text = self.text("loss", "x.npy", "y.npy", "--z-loss", 0.1, "--argmax", "a.npy")
        self.assertRegex(text, r"(?m)^z-loss   \d")
        self.assertRegex(text, r"(?m)^correct  \d")
        self.assertNotIn("z-loss", self.text("loss", "x.npy", "y.npy"))

    def test_refusals_of_values(self):
        cases = [(["--label-smoothing", "1.1"], "--label-smoothing", "1.1"), (["--label-smoothing", "-0.1"], "0"),
                 (["--z-loss", "nan"], "--z-loss", "nan"), (["--focal", "-1"], "--focal", "-1"),
                 (["--scale", "0"], "--scale", "above 0"), (["--softcap", "x"], "--softcap", "x"),
                 (["--denominator", "half"], "--denominator", "half"), (["--empty-mean", "one"], "--empty-mean", "one"),
                 (["--masked-row", "x"], "--masked-row", "nan"), (["--axis", "64"], "--axis", "64")]
        for flags, *words in cases:
            with self.subTest(flags):
                self.assert_refused(2, ["loss", "x.npy", "y.npy", *flags], *words)
        self.assert_refused(2, ["loss", "x.npy"], "LABELS", "--targets")
        self.assert_refused(2, ["loss", "x.npy", "y.npy", "--targets", "x.npy"], "LABELS", "--targets")

    def test_refusals_of_files(self):
        self.save("short.npy", np.ones(6))
        self.save("wide.npy", np.ones((7, 12)))
        self.save("words.npy", np.ones(7, "i4"))
        cases = [(["--class-weight", "short.npy"], "--class-weight", "(6,)", "(11,)"),
                 (["--row-weight", "short.npy"], "--row-weight", "(6,)", "(7,)"),
                 (["--row-weight", "words.npy"], "--row-weight", "i4"),
                 (["--row-mask", "short.npy"], "--row-mask", "f8"), 
                 (["--class-weight", "none.npy"], "--class-weight", "none.npy")]
        for flags, *words in cases:
            with self.subTest(flags):
                self.assert_refused(1, ["loss", "x.npy", "y.npy", *flags], *words)
        self.assert_refused(1, ["loss", "x.npy", "--targets", "wide.npy"], "--targets", "(7, 12)", "(7, 11)")
        for flags in (["--focal", "2"], ["--smooth-others"], ["--probability", "p.npy"], ["--log-probability", "p.npy"]):
            self.assert_refused(2, ["loss", "x.npy", "--targets", "x.npy", *flags], flags[0], "LABELS")
        for bad in (-1, np.nan, np.inf):
            self.save("bad.npy", np.array([1.0, bad, 1, 1, 1, 1, 1]))
            self.assert_refused(1, ["loss", "x.npy", "y.npy", "--row-weight", "bad.npy"], "bad.npy", "weight 1", bad)
        self.save("bad.npy", np.full(7, 1e300))
        self.save("single.npy", self.x.astype("f4"))
        self.assert_refused(1, ["loss", "single.npy", "y.npy", "--row-weight", "bad.npy"], "1e+300")
        self.assert_refused(2, ["loss", "x.npy", "y.npy", "--class-weight", "w.npy", "--entropy", "w.npy"], "w.npy")


if __name__ == "__main__":
    unittest.main()
