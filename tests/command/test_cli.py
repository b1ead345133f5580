"""The command line itself, and xent info."""

import os
import re
import subprocess
import unittest

from harness import COMMAND, CommandCase

HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "include", "xent", "xent.h")


def header_version():
    with open(HEADER, encoding="ascii") as file:
        text = file.read()
    return ".".join(re.search(rf"XENT_VERSION_{part} (\d+)", text).group(1) for part in ("MAJOR", "MINOR", "PATCH"))


class CommandLine(CommandCase):
    def test_version_is_that_of_the_header(self):
        self.assertEqual(self.text("--version"), f"xent {header_version()}\n")

    def test_help_names_every_command_and_option(self):
        options = {
            (): ["info", "loss", "map", "train", "ulp", "--version", "--json", "Exit code"],
            ("info",): ["--json", "isas", "XENT_MAX_ISA", "XENT_NUM_THREADS"],
            ("loss",): ["LOGITS", "LABELS", "--reduction", "--ignore-index", "--row-loss", "--lse", "--gradient",
                        "--threads", "--isa", "--bf16", "--json", "NaN", "-Infinity", "counted"],
            ("map",): ["FUNCTION", "IN", "OUT", "exp", "log_sigmoid", "--bf16", "--threads", "--isa", "--json",
                       "elements"],
            ("ulp",): ["FUNCTION", "--dtype", "--isa", "all", "--exhaustive", "--samples", "--seed", "--curve",
                       "--threads", "--json", "MPFR", "histogram", "witness_hex", "not_correctly_rounded"],
            ("train",): ["digits", "breast-cancer", "article", "--steps", "--learning-rate", "--every", "--threads",
                         "--predictions", "--json", "history", "accuracy", "CC BY 4.0", "10.24432"],
        }
        for command, words in options.items():
            for flag in ("--help", "-h"):
                text = self.text(*command, flag)
                for word in words:
                    self.assertIn(word, text)

    def test_help_fits_a_wide_terminal(self):
        for command in ((), ("info",), ("loss",), ("map",), ("train",), ("ulp",)):
            for line in self.text(*command, "--help").splitlines():
                self.assertLessEqual(len(line), 132, line)

    def test_wrong_command_lines_are_usage_errors(self):
        self.assert_refused(2, [], "a command is missing", "information", "--help")
        self.assert_refused(2, ["lose"], "lose")
        self.assert_refused(2, ["--fast"], "--fast")
        self.assert_refused(2, ["info", "--fast"], "--fast")
        self.assert_refused(2, ["info", "more"], "more")
        self.assert_refused(2, ["loss"], "LOGITS")
        self.assert_refused(2, ["loss", "x.npy"], "LABELS")
        self.assert_refused(2, ["loss", "x.npy", "y.npy", "z.npy"], "z.npy")
        self.assert_refused(2, ["train"], "PROBLEM")
        self.assert_refused(2, ["map"], "FUNCTION")
        self.assert_refused(2, ["map", "exp", "x.npy"], "OUT")
        self.assert_refused(2, ["map", "exp", "x.npy", "y.npy", "z.npy"], "z.npy")
        self.assert_refused(2, ["ulp"], "FUNCTION")
        self.assert_refused(2, ["ulp", "exp", "log"], "log")

    @unittest.skipUnless(os.path.exists("/dev/full"), "this system has no /dev/full")
    def test_output_that_cannot_be_written_is_a_failure(self):
        for arguments in (["info"], ["--help"], ["info", "--json"]):
            with open("/dev/full", "w", encoding="ascii") as full:
                result = subprocess.run([COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True,
                                        timeout=60, check=False)
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr, r"\Axent: [^\n]+\n\Z")


class Info(CommandCase):
    def test_json_says_what_is_compiled_supported_and_chosen(self):
        info = self.json("info")
        self.assertEqual(list(info), ["version", "build", "isa", "threads", "isas"])
        self.assertEqual(info["version"], header_version())
        self.assertIn(info["version"], info["build"])
        self.assertGreaterEqual(info["threads"], 1)
        supported = [isa["name"] for isa in info["isas"] if isa["supported"]]
        self.assertEqual(info["isa"], supported[0])

    def test_json_may_stand_before_the_command(self):
        self.assertEqual(self.text("--json", "info"), self.text("info", "--json"))

    def test_text_says_the_same(self):
        info = self.json("info")
        text = self.text("info")
        for word in (info["version"], info["build"], f"chosen   {info['isa']}", f"threads  {info['threads']}"):
            self.assertIn(word, text)
        for isa in info["isas"]:
            self.assertRegex(text, rf"(?m)^  {isa['name']} +{'supported$' if isa['supported'] else 'not supported'}")

    def test_environment_caps_are_shown(self):
        slowest = self.json("info")["isas"][-1]["name"]
        info = self.json("info", environment={"XENT_MAX_ISA": slowest, "XENT_NUM_THREADS": "3"})
        self.assertEqual((info["isa"], info["threads"]), (slowest, 3))


if __name__ == "__main__":
    unittest.main()
