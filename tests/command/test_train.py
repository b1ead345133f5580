"""xent train: the three problems, their options, and the progress bar."""

import os
import re
import subprocess
import unittest

import numpy as np
from harness import COMMAND, CommandCase

KEYS = ["problem", "loss", "steps", "learning_rate", "rows", "classes", "history", "final_loss", "accuracy"]
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")


def article_losses(steps, rate):
    """The mean sigmoid cross-entropy before each step of the descent, in float64, from its definition."""
    y = np.array([[1, 0], [0, 1], [0, 0], [1, 1]], dtype=np.float64)
    x = np.array([[0.8, 0.2], [0.2, 0.8], [0.1, 0.9], [0.5, 0.5]], dtype=np.float64)
    losses = []
    for _ in range(steps + 1):
        p = 1 / (1 + np.exp(-x))
        losses.append(np.mean(-(y * np.log(p) + (1 - y) * np.log(1 - p))))
        x = x - rate * (p - y) / x.size
    return np.array(losses), np.mean((x > 0) == (y == 1))


def probabilities(z):
    """Sigmoid of one logit, softmax of several."""
    if z.shape[1] == 1:
        return 1 / (1 + np.exp(-z))
    p = np.exp(z)
    return p / p.sum(axis=1, keepdims=True)


def cross_entropy(z, y):
    """Losses of rows, and their derivatives by the logits; as are the next two."""
    p = probabilities(z)
    of_one = -np.log(1 - p) * (1 - y) if z.shape[1] == 1 else 0
    return (-y * np.log(np.where(y > 0, p, 1)) + of_one).sum(axis=1), p - y


def focal(z, y):
    p = probabilities(z)
    if z.shape[1] == 1:
        right = np.where(y == 1, p, 1 - p)
        sign = np.where(y == 1, 1, -1)
        slope = -sign * (1 - right) ** 2 * ((1 - right) - 2 * right * np.log(right))
        return (-((1 - right) ** 2) * np.log(right))[:, 0], slope
    right = p[y == 1][:, None]
    factor = (1 - right) ** 2 - 2 * right * (1 - right) * np.log(right)
    return (-((1 - right) ** 2) * np.log(right))[:, 0], factor * (p - y)


def squared_error(z, y):
    p = probabilities(z)
    if z.shape[1] == 1:
        return ((p - y) ** 2)[:, 0], 2 * (p - y) * p * (1 - p)
    g = 2 * (p - y)
    return ((p - y) ** 2).sum(axis=1), p * (g - (p * g).sum(axis=1, keepdims=True))


OBJECTIVES = {"cross-entropy": cross_entropy, "focal": focal, "squared-error": squared_error}


class Article(CommandCase):
    def test_the_ten_losses_are_those_of_numpy(self):
        run = self.json("train", "article")
        expected, accuracy = article_losses(1000, 0.01)
        self.assertEqual([point["step"] for point in run["history"]], list(range(0, 1000, 100)))
        np.testing.assert_allclose([point["loss"] for point in run["history"]], expected[0:1000:100], rtol=1e-6)
        np.testing.assert_allclose(run["final_loss"], expected[1000], rtol=1e-6)
        self.assertEqual(run["accuracy"], accuracy)
        self.assertEqual([run[key] for key in ("steps", "learning_rate", "rows", "classes")], [1000, 0.01, 8, 2])

    def test_steps_rate_and_every_mean_what_they_say(self):
        run = self.json("train", "article", "--steps", 25, "--learning-rate", 2.5, "--every", 7)
        expected, accuracy = article_losses(25, 2.5)
        self.assertEqual([point["step"] for point in run["history"]], [0, 7, 14, 21])
        np.testing.assert_allclose([point["loss"] for point in run["history"]], expected[0:25:7], rtol=1e-6)
        np.testing.assert_allclose(run["final_loss"], expected[25], rtol=1e-6)
        self.assertEqual((run["accuracy"], run["steps"], run["learning_rate"]), (accuracy, 25, 2.5))

    def test_text_has_the_same_numbers(self):
        run = self.json("train", "article", "--predictions")
        lines = self.text("train", "article").splitlines()
        self.assertEqual(lines[0].split(), ["step", "loss"])
        points = [(int(step), float(loss)) for step, loss in (line.split() for line in lines[1:11])]
        self.assertEqual(points, [(point["step"], point["loss"]) for point in run["history"]])
        self.assertEqual(float(lines[11].split()[1]), run["final_loss"])
        self.assertEqual(lines[12:], [f"accuracy  {run['accuracy']:.4f}"])
        self.assertEqual(run["answers"], [1, 0, 0, 1, 0, 0, 1, 1])


class Classifiers(CommandCase):
    def test_digits_reach_their_accuracy(self):
        run = self.json("train", "digits")
        self.assertEqual(list(run), KEYS)
        self.assertEqual((run["rows"], run["classes"], run["steps"]), (1438, 10, 500))
        self.assertGreaterEqual(run["accuracy"], 0.94)
        self.assertAlmostEqual(run["history"][0]["loss"], np.log(10), places=12)

    def test_breast_cancer_reaches_its_accuracy(self):
        run = self.json("train", "breast-cancer")
        self.assertEqual((run["rows"], run["classes"], run["steps"]), (456, 2, 500))
        self.assertGreaterEqual(run["accuracy"], 0.96)
        self.assertAlmostEqual(run["history"][0]["loss"], np.log(2), places=12)

    def check_descent(self, problem, prepare, objective):
        """Losses of a few steps, accuracy and predictions, against the same descent in NumPy."""
        name = problem.replace("-", "_") + ".csv"
        table = np.loadtxt(os.path.join(DATA, name), delimiter=",", skiprows=1)
        is_test = np.arange(len(table)) % 5 == 4
        inputs = prepare(table[:, :-1], ~is_test)
        labels = table[:, -1].astype(int)
        classes = labels.max() + 1
        x, y = inputs[~is_test], np.eye(classes)[labels[~is_test]]
        if classes == 2:
            y = y[:, 1:]
        weights, biases = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
        losses = []
        for _ in range(20):
            loss, slope = OBJECTIVES[objective](x @ weights + biases, y)
            losses.append(loss.mean())
            weights, biases = weights - 0.25 * x.T @ slope / len(x), biases - 0.25 * slope.mean(axis=0)
        logits = inputs[is_test] @ weights + biases
        predictions = (logits[:, 0] > 0).astype(int) if classes == 2 else np.argmax(logits, axis=1)
        run = self.json("train", problem, "--loss", objective, "--steps", 20, "--learning-rate", 0.25, "--every", 1,
                        "--predictions")
        np.testing.assert_allclose([point["loss"] for point in run["history"]], losses, rtol=1e-9)
        self.assertEqual(run["loss"], objective)
        self.assertEqual(run["answers"], labels[is_test].tolist())
        self.assertEqual(run["predictions"], predictions.tolist())
        self.assertEqual(run["accuracy"], np.mean(predictions == labels[is_test]))
        accuracies = [point["accuracy"] for point in run["history"]]
        self.assertEqual(accuracies[0], np.mean(labels[is_test] == 0))
        self.assertEqual(len(accuracies), 20)

    def test_digits_descend_as_numpy_does(self):
        for objective in OBJECTIVES:
            self.check_descent("digits", lambda x, training: x / 16, objective)

    def test_breast_cancer_descends_as_numpy_does(self):
        for objective in OBJECTIVES:
            self.check_descent("breast-cancer", lambda x, training: (x - x[training].mean(0)) / x[training].std(0),
                               objective)

    def test_threads_do_not_change_a_bit(self):
        runs = [self.text("train", "digits", "--steps", 10, "--every", 1, "--json", "--threads", n) for n in (1, 2, 5)]
        self.assertEqual(runs[0], runs[1])
        self.assertEqual(runs[0], runs[2])

    def test_a_descent_that_blows_up_is_still_json(self):
        run = self.json("train", "digits", "--steps", 3, "--learning-rate", "1e308", "--every", 1)
        self.assertIn(run["final_loss"], ("NaN", "Infinity"))


class Refusals(CommandCase):
    def test_values_out_of_range(self):
        for option, values in (("--steps", ("0", "-1", "nan", "1.5", "100000001")), ("--every", ("0", "-5", "x")),
                               ("--threads", ("0", "1025", "x")),
                               ("--learning-rate", ("0", "-1", "nan", "inf", "-inf", "1e999", "x", "1 ", "0.1x"))):
            for value in values:
                self.assert_refused(2, ["train", "article", f"{option}={value}"], option, f'"{value}"')

    def test_problems_that_are_not_known(self):
        self.assert_refused(2, ["train", "iris"], "PROBLEM", '"iris"', "digits")

    def test_losses_that_are_not_known(self):
        self.assert_refused(2, ["train", "digits", "--loss", "hinge"], "--loss", '"hinge"', "squared-error")

    def test_predictions_without_json(self):
        self.assert_refused(2, ["train", "article", "--predictions"], "--predictions", "--json")


class ProgressBar(CommandCase):
    def run_on_terminal(self, *arguments):
        """Standard output, and what a terminal as standard error saw."""
        leader, follower = self.open_terminal()
        with subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=follower, text=True) as process:
            os.close(follower)
            seen = b""
            while True:
                try:
                    part = os.read(leader, 4096)
                except OSError:
                    break
                if not part:
                    break
                seen += part
            output = process.stdout.read()
        os.close(leader)
        self.assertEqual(process.returncode, 0)
        return output, seen.decode()

    def test_a_terminal_sees_a_bar_that_goes_away(self):
        output, seen = self.run_on_terminal("train", "digits", "--every", "250")
        self.assertRegex(seen, r"digits \[#*\.+\] +\d+ %")
        self.assertTrue(seen.endswith("\r\x1b[K"))
        self.assertEqual(output, self.text("train", "digits", "--every", "250"))
        for share in re.findall(r"(\d+) %", seen):
            self.assertLessEqual(int(share), 100)

    def test_nothing_else_sees_one(self):
        self.assertEqual(self.run_command("train", "digits", "--steps", 300).stderr, "")


if __name__ == "__main__":
    unittest.main()
