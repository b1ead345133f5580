"""xent information: measures, forms and outputs against NumPy in long double, and what it refuses."""

import unittest

import numpy as np
from harness import CommandCase


def log_softmax(z):
    z = z.astype(np.longdouble)
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def measure(name, lp, lq, beta=0.5):
    p, q = np.exp(lp), np.exp(lq)
    if name == "entropy":
        return -(p * lp).sum(axis=-1)
    if name == "cross-entropy":
        return -(p * lq).sum(axis=-1)
    if name == "kl":
        return (p * (lp - lq)).sum(axis=-1)
    m = beta * p + (1 - beta) * q
    return (beta * p * np.log(p / m) + (1 - beta) * q * np.log(q / m)).sum(axis=-1)


def entropy(counts):
    p = np.asarray(counts, np.longdouble).ravel()
    p = p[p > 0] / p.sum()
    return -(p * np.log2(p)).sum()


class Information(CommandCase):
    def setUp(self):
        super().setUp()
        random = np.random.default_rng(2)
        self.x, self.y = random.normal(size=(3, 7, 4)) * 2, random.normal(size=(3, 7, 4)) * 2

    def load(self, name):
        return np.load(self.path(name))

    def test_measures_of_every_form(self):
        x, y = np.moveaxis(self.x, 1, -1), np.moveaxis(self.y, 1, -1)
        lp, lq = log_softmax(x), log_softmax(y)
        forms = {"probabilities": (np.exp(lp), np.exp(lq)), "logs": (lp, lq), "logits": (x, y)}
        for form, (p, q) in forms.items():
            self.save("p.npy", np.ascontiguousarray(np.moveaxis(p, -1, 1)).astype("f8"))
            self.save("q.npy", np.ascontiguousarray(np.moveaxis(q, -1, 1)).astype("f8"))
            for name in ("entropy", "cross-entropy", "kl", "js"):
                files = ["p.npy"] if name == "entropy" else ["p.npy", "q.npy"]
                out = f"{form}-{name}.npy"
                beta = ["--beta", "0.25"] if name == "js" else []
                run = self.json("information", name, *files, "--given", form, "--axis", 1, "--base", 2, *beta, "--rows", out)
                expected = measure(name, lp, lq, 0.25) / np.log(np.longdouble(2))
                np.testing.assert_allclose(self.load(out), expected.astype(float), rtol=1e-13)
                np.testing.assert_allclose(run["value"], float(expected.mean()), rtol=1e-13)
                self.assertEqual((run["measure"], run["base"], run["rows"], run["classes"]), (name, "2", 12, 7))

    def test_ensembles(self):
        lp = log_softmax(self.x)
        p = np.exp(lp)
        mean = p.mean(axis=0)
        predictive, expected = -(mean * np.log2(mean)).sum(-1), -(p * lp).sum(-1).mean(0) / np.log(np.longdouble(2))
        for axis in (-1, 1):
            self.save("p.npy", self.x if axis == -1 else np.ascontiguousarray(np.moveaxis(self.x, -1, 1)))
            run = self.json("information", "ensemble", "p.npy", "--given", "logits", "--axis", axis, "--base", 2, "--rows", "r.npy")
            for name, value in (("predictive_entropy", predictive), ("expected_entropy", expected),
                                ("mutual_information", predictive - expected)):
                np.testing.assert_allclose(run[name], float(value.mean()), rtol=1e-13)
            np.testing.assert_allclose(self.load("r.npy"), (predictive - expected).astype(float), rtol=1e-12)
            self.assertEqual((run["samples"], run["rows"], run["classes"]), (3, 7, 4))
        self.assert_refused(2, ["information", "ensemble", "p.npy", "p.npy"], "Q")
        self.save("flat.npy", self.x.ravel())
        self.assert_refused(1, ["information", "ensemble", "flat.npy"], "samples first")

    def test_gradients(self):
        self.save("x.npy", self.x)
        self.save("y.npy", self.y)
        self.text("information", "kl", "x.npy", "y.npy", "--given", "logits", "--reduction", "sum", "--gradient", "gx.npy",
                  "--q-gradient", "gy.npy")
        lp, lq = log_softmax(self.x), log_softmax(self.y)
        p, q = np.exp(lp), np.exp(lq)
        kl = measure("kl", lp, lq)[..., None]
        np.testing.assert_allclose(self.load("gx.npy"), (p * (lp - lq - kl)).astype(float), rtol=1e-11, atol=1e-15)
        np.testing.assert_allclose(self.load("gy.npy"), (q - p).astype(float), rtol=1e-11, atol=1e-15)

    def test_joint_tables(self):
        table = np.random.default_rng(4).integers(0, 9, (5, 6)).astype(float)
        self.save("t.npy", table)
        run = self.json("information", "joint", "t.npy", "--base", 2)
        joint, rows, columns = entropy(table), entropy(table.sum(1)), entropy(table.sum(0))
        expected = {"joint_entropy": joint, "row_entropy": rows, "column_entropy": columns, "columns_given_rows": joint - rows,
                    "rows_given_columns": joint - columns, "mutual_information": rows + columns - joint}
        self.assertEqual(list(run), list(expected))
        for key, value in expected.items():
            self.assertAlmostEqual(run[key], float(value), places=13)
        lines = self.text("information", "joint", "t.npy").splitlines()
        self.assertEqual([line.split()[0] for line in lines], list(expected))

    def test_numbers_that_are_none_are_explained(self):
        self.save("p.npy", np.array([[0.5, -0.5, 1.0]]))
        for measure in ("entropy", "joint", "ensemble"):
            result = self.run_command("information", measure, "p.npy")
            self.assertEqual(result.returncode, 0)
            self.assertRegex(result.stderr, r"\Axent: the [a-z ]+ is (NaN|-Infinity): .*negative.*\n\Z")

    def test_refusals(self):
        self.save("p.npy", np.full((2, 3), 1 / 3))
        self.save("other.npy", np.full((2, 4), 1 / 4))
        self.save("cube.npy", np.ones((2, 2, 2)))
        refuse = self.assert_refused
        refuse(2, ["information", "distance", "p.npy"], "MEASURE", '"distance"', "js")
        refuse(2, ["information", "kl", "p.npy"], "Q", "missing")
        refuse(2, ["information", "entropy", "p.npy", "p.npy"], "Q", "alone")
        refuse(2, ["information", "entropy", "p.npy", "--given", "odds"], "--given", '"odds"')
        refuse(2, ["information", "joint", "p.npy", "--rows", "r.npy"], "--rows")
        refuse(1, ["information", "joint", "cube.npy"], "3 dimensions")
        refuse(1, ["information", "kl", "p.npy", "other.npy"], 'Q "other.npy" has the shape', "that of P")
        refuse(2, ["information", "entropy", "p.npy", "--scale", "2"], "--scale", "logits")
        refuse(2, ["information", "entropy", "p.npy", "--q-given", "logits"], "--q-given", "alone")
        refuse(2, ["information", "kl", "p.npy", "p.npy", "--beta", "0.2"], "--beta", "js")
        self.save("counts.npy", np.ones((2, 3), "i8"))
        refuse(1, ["information", "joint", "counts.npy"], "counts must be f2, f4 or f8")
        refuse(1, ["information", "entropy", "counts.npy"], "probabilities must be f2, f4 or f8")
        for flag, value in (("--base", "1"), ("--base", "x"), ("--beta", "2"), ("--scale", "0"), ("--axis", "99")):
            refuse(2, ["information", "entropy", "p.npy", f"{flag}={value}"], flag, f'"{value}"')


if __name__ == "__main__":
    unittest.main()
