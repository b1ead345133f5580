"""xent map: what it computes and writes, and what it refuses."""

import os
import resource
import subprocess
import unittest

import numpy as np
from harness import COMMAND, CommandCase, npy

KEYS = ["function", "dtype", "elements", "isa", "threads"]
FUNCTIONS = {
    "exp": np.exp,
    "log": np.log,
    "log1p": np.log1p,
    "expm1": np.expm1,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "log_sigmoid": lambda x: -np.log1p(np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "tanh": np.tanh,
}
# The names of NumPy's types in xent.
DTYPES = {"f2": "f16", "f4": "f32", "f8": "f64"}


def from_bf16(words):
    return (np.asarray(words).view("u2").astype("u4") << 16).view("f4")


def to_bf16(array):
    """Rounded to nearest even, as words."""
    bits = np.asarray(array, dtype="f4").view("u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("u2")


class Map(CommandCase):
    def load(self, name="out.npy"):
        return np.load(self.path(name), allow_pickle=False)

    def positive(self, kind, shape):
        return (np.random.default_rng(3).random(shape) * 10 + 0.01).astype(kind)

    def test_every_function_of_every_type(self):
        for kind, dtype in DTYPES.items():
            x = self.positive(kind, (5, 7))
            self.save("x.npy", x)
            for name, function in FUNCTIONS.items():
                with self.subTest(function=name, kind=kind):
                    result = self.json("map", name, "x.npy", "out.npy")
                    self.assertEqual(list(result), KEYS)
                    self.assertEqual([result[key] for key in KEYS[:3]], [name, dtype, 35])
                    exact = function(x.astype(np.longdouble))
                    found = self.load()
                    self.assertEqual((found.dtype, found.shape), (x.dtype, x.shape))
                    if kind == "f8":
                        np.testing.assert_allclose(found, exact.astype("f8"), rtol=4e-16)
                    else:
                        np.testing.assert_array_equal(found, exact.astype("f4").astype(kind))

    def test_every_shape(self):
        for shape in ((), (1,), (0,), (3, 0, 2), (2, 3, 4), (1,) * 12, (100001,)):
            with self.subTest(shape):
                x = self.positive("f4", shape)
                self.save("x.npy", x)
                self.assertEqual(self.json("map", "log", "x.npy", "out.npy")["elements"], x.size)
                found = self.load()
                self.assertEqual(found.shape, shape)
                np.testing.assert_array_equal(found, np.log(x.astype("f8")).astype("f4"))

    def test_bf16_words_keep_their_name(self):
        words = np.arange(2**16, dtype="u2")
        with np.errstate(all="ignore"):
            expected = from_bf16(to_bf16(np.exp(from_bf16(words).astype("f8")).astype("f4")))
        for kind in ("u2", "i2", "V2", "f2"):
            with self.subTest(kind):
                self.save("x.npy", words.view(kind))
                self.assertEqual(self.json("map", "exp", "x.npy", "out.npy", "--bf16")["dtype"], "bf16")
                self.assertEqual(self.load().dtype, np.dtype(kind))
                np.testing.assert_array_equal(from_bf16(self.load()), np.where(np.isnan(expected), np.nan, expected))

    def test_special_values(self):
        self.save("x.npy", np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0], "f4"))
        self.text("map", "log1p", "x.npy", "out.npy")
        np.testing.assert_array_equal(self.load(), np.array([0, -0.0, np.inf, np.nan, np.nan, -np.inf], "f4"))
        self.assertTrue(np.signbit(self.load()[1]))

    def test_instruction_sets_and_threads_are_used_and_change_no_bit(self):
        x = self.positive("f4", 300007)
        self.save("x.npy", x)
        expected = np.tanh(x.astype("f8")).astype("f4")
        for isa in [isa["name"] for isa in self.json("info")["isas"] if isa["supported"]]:
            for threads in (1, 2, 3):
                result = self.json("map", "tanh", "x.npy", "out.npy", "--isa", isa, "--threads", threads)
                self.assertEqual((result["isa"], result["threads"]), (isa, threads))
                np.testing.assert_array_equal(self.load(), expected)

    def test_text_says_the_same(self):
        self.save("x.npy", self.positive("f8", 9))
        text = self.text("map", "exp", "x.npy", "out.npy", "--threads", 2)
        for line in ("function  exp", "dtype     f64", "elements  9", "threads   2"):
            self.assertIn(line + "\n", text)

    def test_an_old_output_is_replaced_through_its_link(self):
        self.save("x.npy", self.positive("f4", 4))
        self.save_bytes("old.npy", b"old")
        os.symlink("old.npy", self.path("link.npy"))
        self.text("map", "exp", "x.npy", "link.npy")
        self.assertTrue(os.path.islink(self.path("link.npy")))
        self.assertEqual(self.load("old.npy").shape, (4,))
        self.assertEqual(sorted(os.listdir(self.folder)), ["link.npy", "old.npy", "x.npy"])


class Refusals(CommandCase):
    def setUp(self):
        super().setUp()
        self.save("x.npy", np.ones((7, 11), "f4"))

    def refuse(self, code, words, function="exp", x="x.npy", out="out.npy", options=()):
        self.assert_refused(code, ["map", function, x, out, *options], *words)

    def test_functions_that_are_not_known(self):
        for name in ("sin", "EXP", "", "exp "):
            self.refuse(2, ["FUNCTION", f'"{name}"', "log_sigmoid", "tanh"], function=name)

    def test_options_that_make_no_sense(self):
        self.refuse(2, ["--threads", '"0"'], options=["--threads", 0])
        self.refuse(2, ["--isa", "mmx", "scalar"], options=["--isa", "mmx"])
        self.refuse(2, ["--isa", '"all"'], options=["--isa", "all"])

    def test_outputs_that_are_the_input(self):
        os.symlink("x.npy", self.path("link.npy"))
        os.link(self.path("x.npy"), self.path("hard.npy"))
        for out in ("x.npy", "./x.npy", "link.npy", "hard.npy", self.path("x.npy")):
            self.refuse(2, ["OUT", out, "IN", "same file"], out=out)

    def test_outputs_that_cannot_be_files(self):
        os.mkdir(self.path("folder"))
        self.refuse(2, ["OUT", '""'], out="")
        self.refuse(1, ["OUT", "folder", "regular file"], out="folder")
        self.refuse(1, ["OUT", "nowhere/out.npy", "No such file"], out="nowhere/out.npy")

    def test_inputs_that_are_not_there_or_not_files(self):
        os.mkdir(self.path("folder"))
        self.refuse(1, ["IN", "none.npy", "No such file"], x="none.npy")
        self.refuse(1, ["IN", "folder", "regular file"], x="folder")
        self.save_bytes("bad.npy", b"1,2,3\n4,5,6\n")
        self.refuse(1, ["IN", "bad.npy", "not a .npy file"], x="bad.npy")

    def test_types_that_are_not_numbers_to_compute_with(self):
        for kind, text in (("i4", "<i4"), ("?", "|b1"), ("c8", "<c8"), ("f16", "<f16"), ("u2", "--bf16")):
            self.save("x.npy", np.zeros(3, kind))
            self.refuse(1, ["IN", text, "f2, f4 or f8"])
        self.save("x.npy", np.zeros(3, "f4"))
        self.refuse(1, ["IN", "<f4", "--bf16"], options=["--bf16"])
        self.save("x.npy", np.zeros(3, ">f4"))
        self.refuse(1, ["IN", ">f4", "newbyteorder"])

    def test_layouts_that_are_not_read(self):
        self.save("x.npy", np.zeros((3, 5), "f4", order="F"))
        self.refuse(1, ["IN", "Fortran"])
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (7, 11), }"
        for size in (307, 309, 0):
            self.save_bytes("x.npy", npy(header, bytes(size)))
            self.refuse(1, ["IN", size, "308"])

    def test_a_disk_that_fills_up_leaves_the_old_output(self):
        self.save("x.npy", np.zeros(10000, "f4"))
        self.save_bytes("out.npy", b"old")
        before = sorted(os.listdir(self.folder))
        result = subprocess.run([COMMAND, "map", "exp", "x.npy", "out.npy"], cwd=self.folder, capture_output=True,
                                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)), text=True,
                                timeout=60, check=False)
        self.assertEqual((result.returncode, result.stdout), (1, ""), result)
        self.assertRegex(result.stderr, r'\Axent: OUT "out.npy" cannot be written[^\n]*\n\Z')
        self.assertEqual(sorted(os.listdir(self.folder)), before)
        with open(self.path("out.npy"), "rb") as file:
            self.assertEqual(file.read(), b"old")


if __name__ == "__main__":
    unittest.main()
