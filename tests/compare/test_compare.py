"""tools/compare from outside, with no peer: the library beside itself on small calls, and arguments that it refuses.

XENT_BUILD_DIR names a build with bench/xent_worker. Times are not looked at.
"""

import csv
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["XENT_BUILD_DIR"])
PNG = b"\x89PNG\r\n\x1a\n"


def compare(*arguments):
    command = [sys.executable, str(ROOT / "tools" / "compare"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


class Baseline(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.output = pathlib.Path(cls.folder.name)
        cls.ended = compare("--build-dir", BUILD, "--baseline", BUILD / "lib", "--cases", "small/*/f32/1x10", "--rounds", 2,
                            "--threads", 1, "--output", cls.output)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_the_library_beside_itself_ends_well_and_says_where_the_report_is(self):
        self.assertEqual(self.ended.returncode, 0, self.ended.stderr)
        self.assertEqual(self.ended.stdout.strip(), str((self.output / "report.md").resolve()))

    def test_the_csv_has_its_columns_and_a_line_per_case_and_build(self):
        with open(self.output / "report.csv", encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file))
        self.assertEqual(list(lines[0]), ["case", "threads", "rounds", "peer", "form", "low_ms", "median_ms", "high_ms",
                                          "floor_gb_per_s", "over_xent_low", "over_xent_median", "over_xent_high", "error",
                                          "note"])
        self.assertEqual([(line["case"], line["peer"]) for line in lines],
                         [(f"small/{output}/f32/1x10", peer) for output in ("loss", "gradient") for peer in ("xent", "baseline")])
        for line in lines:
            self.assertLessEqual(float(line["low_ms"]), float(line["high_ms"]))
            self.assertEqual(line["rounds"], "2")

    def test_the_report_names_both_builds_and_every_regime(self):
        text = (self.output / "report.md").read_text(encoding="utf-8")
        for part in ("*This build*: xent ", "*Baseline*: xent ", "small calls, in cache: loss |", "loss + gradient |"):
            self.assertIn(part, text)
        self.assertEqual((self.output / "baseline.png").read_bytes()[:8], PNG)

    def test_no_file_is_left_half_written(self):
        self.assertEqual(list(self.output.glob("*.unfinished")), [])

    def test_the_report_can_be_written_anew(self):
        before = (self.output / "report.csv").read_bytes()
        ended = compare("--report-only", "--output", self.output)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertEqual((self.output / "report.csv").read_bytes(), before)

    def test_a_regime_below_the_limit_makes_the_status_one(self):
        ended = compare("--build-dir", BUILD, "--baseline", BUILD / "lib" / "libxent.so", "--cases", "small/loss/f32/1x10",
                        "--rounds", 2, "--threads", 1, "--output", self.output / "slow", "--fail-below", 1000)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        self.assertIn("is below 1000", ended.stderr)


class Refusals(unittest.TestCase):
    def assert_refuses(self, arguments, *parts):
        ended = compare(*arguments)
        self.assertEqual(ended.returncode, 2, ended.stderr)
        self.assertEqual(ended.stdout, "")
        for part in parts:
            self.assertIn(part, ended.stderr.splitlines()[-1])

    def test_the_message_names_argument_and_value(self):
        for option, value in (("--rounds", "0"), ("--rounds", "many"), ("--threads", "0"), ("--threads", "1,x"),
                              ("--peers", "torch,abacus"), ("--cases", "few/*,nothing/*"), ("--fail-below", "-1"),
                              ("--baseline", "/nowhere"), ("--build-dir", "/nowhere")):
            with self.subTest(option=option, value=value):
                self.assert_refuses([f"{option}={value}"], option, value.split(",")[-1])

    def test_options_that_contradict_each_other_are_refused(self):
        self.assert_refuses(["--fail-below", "0.9"], "--fail-below", "--baseline")
        self.assert_refuses(["--baseline", BUILD / "lib", "--peers", "jax"], "--peers", "jax")

    def test_there_must_be_results_to_add_to(self):
        with tempfile.TemporaryDirectory() as folder:
            for option in ("--append", "--report-only"):
                self.assert_refuses([option, "--output", folder], "--output", folder, option)


class Texts(unittest.TestCase):
    def test_help_has_examples(self):
        ended = compare("--help")
        self.assertEqual(ended.returncode, 0)
        self.assertIn("tools/compare --quick", ended.stdout)

    def test_list_names_cases_and_peers(self):
        lines = compare("--list").stdout.splitlines()
        self.assertIn("vocabulary/gradient/f32/512x32000", lines)
        self.assertTrue(lines[-1].startswith("peers: torch "))


if __name__ == "__main__":
    unittest.main()
