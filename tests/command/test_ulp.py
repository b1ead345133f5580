"""xent ulp: what it reports and refuses, and the accuracy of every function on every instruction set."""

import importlib.util
import math
import os
import re
import subprocess
import sys
import unittest

import numpy as np
from harness import COMMAND, CommandCase

KEYS = ["function", "dtype", "inputs", "seconds", "isas"]
ISA_KEYS = ["isa", "max_ulp", "witness", "witness_hex", "witness_bits", "result", "not_correctly_rounded", "histogram"]
FUSED = ("avx512", "avx2", "neon")
# The largest error of f64 in ULP, with fused multiply-add and without.
F64_BOUNDS = {
    "exp": (0.61, 0.63),
    "log": (0.64, 0.72),
    "log1p": (0.69, 0.75),
    "expm1": (0.94, 1.01),
    "sigmoid": (0.60, 0.63),
    "log_sigmoid": (0.73, 0.80),
    "softplus": (0.73, 0.80),
    "tanh": (0.81, 0.81),
}
FUNCTIONS = list(F64_BOUNDS)
PLOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "ulp-plot")


class UlpCase(CommandCase):
    def measure(self, *arguments):
        """The report, once what every report must fulfil has been checked."""
        report = self.json("ulp", *arguments)
        self.assertEqual(list(report), KEYS)
        for isa in report["isas"]:
            self.assertEqual([key for key in isa if key != "curve"], ISA_KEYS)
            isa["max_ulp"] = float(isa["max_ulp"])  # it may be "Infinity"
            self.assertEqual(len(isa["histogram"]), 11)
            self.assertEqual(sum(isa["histogram"]), report["inputs"])
            self.assertLessEqual(sum(isa["histogram"][5:]), isa["not_correctly_rounded"])
            self.assertEqual(float.fromhex(isa["witness_hex"]), float(isa["witness"]))
            bin_of_largest = max(k for k, count in enumerate(isa["histogram"]) if count)
            self.assertAlmostEqual(min(isa["max_ulp"], 1.05), bin_of_largest / 10 + 0.05, delta=0.06)
        return report

    def supported(self):
        return [isa["name"] for isa in self.json("info")["isas"] if isa["supported"]]


class Accuracy(UlpCase):
    """A largest error above its bound names the input: XENT_COMMAND ulp FUNCTION repeats it."""

    def check(self, function, bound_of, *arguments):
        report = self.measure(function, "--isa", "all", *arguments)
        self.assertEqual([isa["isa"] for isa in report["isas"]], self.supported())
        for isa in report["isas"]:
            with self.subTest(function=function, isa=isa["isa"], arguments=arguments):
                self.assertLessEqual(isa["max_ulp"], bound_of(isa["isa"]), isa)
                self.assertGreater(isa["max_ulp"], 0.4, "the inputs did not come near the largest error")
                yield isa

    def test_f32_is_correctly_rounded(self):
        for function in FUNCTIONS:
            for isa in self.check(function, lambda _: 0.5, "--samples", 300000):
                self.assertEqual(isa["not_correctly_rounded"], 0, isa)
                self.assertEqual(sum(isa["histogram"][5:]), 0)

    def test_f64_is_within_its_bounds(self):
        for function, (fused, plain) in F64_BOUNDS.items():
            for isa in self.check(function, lambda name: fused if name in FUSED else plain,
                                  "--dtype", "f64", "--samples", 200000):
                self.assertGreater(isa["max_ulp"], 0.5, "f64 is not correctly rounded; the inputs did not show it")

    def test_16_bits_are_rounded_once_from_f32(self):
        for function in FUNCTIONS:
            for dtype in ("bf16", "f16"):
                for _ in self.check(function, lambda _: 0.502, "--dtype", dtype, "--exhaustive"):
                    pass


class Report(UlpCase):
    def test_the_default_is_f32_on_the_best_instruction_set(self):
        report = self.measure("exp", "--samples", 1000)
        self.assertEqual((report["function"], report["dtype"]), ("exp", "f32"))
        self.assertEqual([isa["isa"] for isa in report["isas"]], self.supported()[:1])
        self.assertEqual(report, {**self.measure("exp", "--samples", 1000, "--dtype", "f32"),
                                  "seconds": report["seconds"]})

    def test_the_witness_shows_the_error(self):
        for function, exact in (("exp", np.exp), ("log", np.log), ("expm1", np.expm1)):
            isa = self.measure(function, "--dtype", "f64", "--samples", 50000)["isas"][0]
            found = exact(np.longdouble(isa["witness"]))
            unit = np.spacing(np.float64(abs(found)))
            self.assertAlmostEqual(float(abs(np.longdouble(isa["result"]) - found) / unit), isa["max_ulp"], delta=0.01)
            self.assertEqual(np.array(isa["witness"]).view("u8"), int(isa["witness_bits"], 16))

    def test_subnormal_results_have_the_unit_of_the_least_number(self):
        # The least argument whose softplus is not 0 in f32: hardly more than half of 2^-149, which it is rounded to.
        isa = self.measure("softplus", "--samples", 1000)["isas"][0]
        self.assertEqual((isa["witness_bits"], isa["result"]), ("0xc2cff1b4", 2.0**-149))
        self.assertAlmostEqual(1 - math.exp(isa["witness"]) / 2.0**-149, isa["max_ulp"], delta=1e-9)

    def test_every_bit_pattern_of_16_bits_is_counted(self):
        for dtype in ("bf16", "f16"):
            every = self.measure("log", "--dtype", dtype, "--exhaustive")
            self.assertEqual(every["inputs"], 2**16)
            self.assertEqual(self.measure("log", "--dtype", dtype)["isas"], every["isas"])

    def test_threads_change_nothing_and_seeds_do(self):
        arguments = ["expm1", "--dtype", "f64", "--samples", 30000, "--isa", "all", "--curve", 10]
        runs = [self.measure(*arguments, "--threads", n)["isas"] for n in (1, 2, 5)]
        self.assertEqual(runs[0], runs[1])
        self.assertEqual(runs[0], runs[2])
        self.assertNotEqual(runs[0], self.measure(*arguments, "--seed", 2)["isas"])

    def test_the_curve_covers_the_axis_and_reaches_the_largest_error(self):
        largest = {"bf16": (2 - 2**-7) * 2.0**127, "f16": 65504.0, "f32": (2 - 2**-23) * 2.0**127,
                   "f64": sys.float_info.max}
        for dtype, top in largest.items():
            for bins in (1, 2, 64, 1000):
                with self.subTest(dtype=dtype, bins=bins):
                    isa = self.measure("tanh", "--dtype", dtype, "--samples", 65536, "--curve", bins)["isas"][0]
                    curve = isa["curve"]
                    self.assertEqual(len(curve), bins)
                    self.assertEqual((curve[0]["from"], curve[-1]["to"]), (-top, top))
                    for left, right in zip(curve, curve[1:]):
                        self.assertLessEqual(left["from"], left["to"])
                        self.assertLess(left["to"], right["from"])
                    errors = [point["max_ulp"] for point in curve if point["max_ulp"] is not None]
                    self.assertAlmostEqual(max(errors), isa["max_ulp"], delta=0.001)

    def test_bins_without_a_number_are_null(self):
        curve = self.measure("log", "--dtype", "f16", "--curve", 100)["isas"][0]["curve"]
        self.assertEqual({point["max_ulp"] for point in curve[:49]}, {None})
        self.assertNotIn(None, [point["max_ulp"] for point in curve[51:]])

    def test_text_says_the_same(self):
        report = self.json("ulp", "tanh", "--dtype", "bf16", "--exhaustive", "--isa", "all")
        text = self.text("ulp", "tanh", "--dtype", "bf16", "--exhaustive", "--isa", "all")
        self.assertIn("tanh bf16: 65536 inputs (every bit pattern)", text)
        for isa in report["isas"]:
            line = next(line for line in text.splitlines() if line.startswith(isa["isa"] + " "))
            for key in ("max_ulp", "not_correctly_rounded", "witness_hex", "witness_bits"):
                self.assertIn(f" {isa[key]}", line.replace(",", ""))

    def test_the_environment_caps_the_default(self):
        slowest = self.supported()[-1]
        report = self.json("ulp", "exp", "--samples", 1000, environment={"XENT_MAX_ISA": slowest})
        self.assertEqual(report["isas"][0]["isa"], slowest)

    def test_a_terminal_sees_the_time_left(self):
        leader, follower = self.open_terminal()
        command = [COMMAND, "ulp", "tanh", "--dtype", "f64", "--samples", "30000000", "--isa", "all", "--threads", "1"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=follower) as process:
            os.close(follower)
            seen = b""
            while not re.search(rb"tanh \[#+\.+\] +\d+ %, (\d+ s|\d+:\d\d min) left", seen):
                seen += os.read(leader, 4096)
            process.kill()
        os.close(leader)


@unittest.skipUnless(importlib.util.find_spec("matplotlib"), "this Python has no matplotlib")
class Plot(CommandCase):
    def plot(self, *arguments):
        return subprocess.run([sys.executable, "-B", PLOT, *arguments], cwd=self.folder, capture_output=True, text=True,
                              timeout=120, check=False)

    def test_a_picture_is_drawn(self):
        for function, dtype in (("exp", "f16"), ("log", "bf16")):
            result = self.plot(function, "--dtype", dtype, "--isa", "all", "--xent", COMMAND)
            self.assertEqual(result.returncode, 0, result)
            path, *lines = result.stdout.splitlines()
            self.assertEqual(os.path.realpath(path), os.path.realpath(self.path(f"{function}-{dtype}-ulp.png")))
            self.assertEqual(len(lines), sum(isa["supported"] for isa in self.json("info")["isas"]))
            with open(path, "rb") as file:
                self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")

    def test_what_cannot_be_done_is_said(self):
        for arguments, code, word in ((["exp", "--xent", "none"], 1, "none"), (["sin", "--xent", COMMAND], 2, '"sin"'),
                                      (["exp", "--xent", COMMAND, "--bins", "9"], 1, "9"),
                                      (["exp", "--xent", COMMAND, "--output", "no/x.png"], 1, "no/x.png")):
            result = self.plot(*arguments, "--dtype", "f16")
            self.assertEqual((result.returncode, result.stdout), (code, ""), result)
            self.assertRegex(result.stderr, r"\A(xent|ulp-plot): [^\n]+\n\Z")
            self.assertIn(word, result.stderr)


class Refusals(CommandCase):
    def test_functions_and_types_that_are_not_known(self):
        self.assert_refused(2, ["ulp", "sin"], "FUNCTION", '"sin"', "log_sigmoid")
        self.assert_refused(2, ["ulp", "exp", "--dtype", "f8"], "--dtype", '"f8"', "bf16")
        self.assert_refused(2, ["ulp", "exp", "--isa", "mmx"], "--isa", '"mmx"', "scalar")

    def test_values_out_of_range(self):
        for option, values in (("--samples", ("0", "-1", "1e6", "1000000000001")), ("--curve", ("0", "100001", "x")),
                               ("--threads", ("0", "1025")), ("--seed", ("x", "9223372036854775808"))):
            for value in values:
                self.assert_refused(2, ["ulp", "exp", f"{option}={value}"], option, f'"{value}"')
        self.assert_refused(2, ["ulp", "exp", "--dtype", "f16", "--curve", 70000, "--json"], "--curve", 70000, 63487)

    def test_options_that_contradict_each_other(self):
        self.assert_refused(2, ["ulp", "exp", "--dtype", "f64", "--exhaustive"], "--exhaustive", "f64", "2^64")
        self.assert_refused(2, ["ulp", "exp", "--exhaustive", "--samples", 5], "--exhaustive", "--samples", 5)
        self.assert_refused(2, ["ulp", "exp", "--curve", 5], "--curve", "--json")


if __name__ == "__main__":
    unittest.main()
