"""xent loss: what it computes and writes, against NumPy in long double."""

import json
import os
import signal
import subprocess
import time
import unittest

import numpy as np
from harness import COMMAND, CommandCase, npy, reference

KEYS = ["loss", "counted", "ignored", "rows", "classes", "isa", "threads", "sum", "denominator", "z_loss"]
# Relative rounding error of the type that losses of each logits type are in, times a few for the library's own error.
BOUNDS = {"f2": 4 * 2.0**-24, "f4": 4 * 2.0**-24, "f8": 8 * 2.0**-53}
OUTPUTS = ["--row-loss", "row.npy", "--lse", "lse.npy", "--gradient", "gradient.npy"]


def to_bf16(array):
    """Rounded to nearest even, as words."""
    bits = np.asarray(array, dtype="f4").view("u4").astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("u2")


def from_bf16(words):
    return (np.asarray(words).view("u2").astype("u4") << 16).view("f4")


class Loss(CommandCase):
    def load(self, name):
        return np.load(self.path(name), allow_pickle=False)

    def assert_close(self, found, expected, bound):
        expected = np.asarray(expected, dtype=np.longdouble)
        self.assertEqual(np.shape(found), expected.shape)
        difference = np.abs(np.asarray(found).astype(np.longdouble) - expected)
        self.assertTrue(np.all(difference <= bound * np.abs(expected) + 1e-300), np.max(difference))

    def test_every_logits_type_with_all_outputs(self):
        for kind, bound in BOUNDS.items():
            with self.subTest(kind):
                logits, labels = self.save_inputs(kind)
                losses, lse, gradient = reference(logits, labels)
                result = self.json("loss", "x.npy", "y.npy", *OUTPUTS)
                self.assertEqual(list(result), KEYS)
                self.assertEqual([result[key] for key in ("counted", "ignored", "rows", "classes")], [7, 0, 7, 11])
                self.assert_close(result["loss"], losses.mean(), bound)
                row_type = np.dtype("f8" if kind == "f8" else "f4")
                self.assertEqual((self.load("row.npy").dtype, self.load("lse.npy").dtype), (row_type, row_type))
                self.assert_close(self.load("row.npy"), losses, bound)
                self.assert_close(self.load("lse.npy"), lse, bound)
                self.assertEqual(self.load("gradient.npy").dtype, np.dtype(kind))
                if kind == "f2":
                    difference = self.load("gradient.npy").astype("f8") - (gradient / 7).astype("f8")
                    self.assertLess(np.abs(difference / np.spacing(np.abs((gradient / 7).astype("f2")))).max(), 0.51)
                else:
                    self.assert_close(self.load("gradient.npy"), gradient / 7, 4 * bound)

    def test_every_label_type(self):
        logits, labels = self.save_inputs()
        expected = self.json("loss", "x.npy", "y.npy")["loss"]
        for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
            with self.subTest(kind):
                self.save("y.npy", labels.astype(kind))
                self.assertEqual(self.json("loss", "x.npy", "y.npy")["loss"], expected)

    def test_labels_keep_their_sign_and_size(self):
        _, labels = self.save_inputs()
        for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
            with self.subTest(kind):
                labels[2] = -7 if kind[0] == "i" else min(np.iinfo(kind).max, 2**63 - 1)
                self.save("y.npy", labels.astype(kind))
                result = self.json("loss", "x.npy", "y.npy", "--ignore-index", labels[2])
                self.assertEqual((result["counted"], result["ignored"]), (6, 1))

    def test_bf16_words_of_every_name(self):
        logits, labels = self.save_inputs()
        words = to_bf16(logits)
        losses, _, gradient = reference(from_bf16(words), labels)
        for kind in ("u2", "i2", "V2", "f2"):
            with self.subTest(kind):
                self.save("x.npy", words.view(kind))
                result = self.json("loss", "x.npy", "y.npy", "--bf16", *OUTPUTS)
                self.assert_close(result["loss"], losses.mean(), BOUNDS["f4"])
                self.assertEqual(self.load("row.npy").dtype, np.dtype("f4"))
                written = self.load("gradient.npy")
                self.assertEqual(written.dtype, np.dtype("u2"))
                self.assert_close(from_bf16(written), gradient / 7, 2.0**-8)

    def test_reductions(self):
        logits, labels = self.save_inputs("f8")
        losses, _, gradient = reference(logits, labels)
        for name, loss, scale in (("none", losses.sum(), 1), ("sum", losses.sum(), 1), ("mean", losses.mean(), 7)):
            with self.subTest(name):
                result = self.json("loss", "x.npy", "y.npy", "--reduction", name, "--gradient", "gradient.npy")
                self.assert_close(result["loss"], loss, BOUNDS["f8"])
                self.assert_close(self.load("gradient.npy"), gradient / scale, 4 * BOUNDS["f8"])
        mean = self.json("loss", "x.npy", "y.npy", "--reduction", "mean")
        self.assertEqual(self.json("loss", "x.npy", "y.npy"), mean)

    def test_ignored_rows(self):
        for index, options in ((-100, []), (-1, ["--ignore-index", -1]), (3, ["--ignore-index=3"]),
                               (-2**63, ["--ignore-index", -2**63]), (2**63 - 1, ["--ignore-index", 2**63 - 1])):
            with self.subTest(index):
                logits, labels = self.save_inputs("f8")
                labels[labels == 3] = 4
                labels[[1, 4]] = index
                self.save("y.npy", labels)
                losses, lse, _ = reference(logits, labels, index)
                result = self.json("loss", "x.npy", "y.npy", *options, *OUTPUTS)
                self.assertEqual((result["counted"], result["ignored"]), (5, 2))
                self.assert_close(result["loss"], losses.sum() / 5, BOUNDS["f8"])
                self.assert_close(self.load("lse.npy"), lse, BOUNDS["f8"])
                self.assertEqual(np.abs(self.load("gradient.npy")[[1, 4]]).max(), 0)

    def test_losses_round_trip(self):
        for seed in range(20):
            logits = np.random.default_rng(seed).standard_normal((1, 9)) * 10.0 ** (seed % 4)
            self.save("x.npy", logits)
            self.save("y.npy", np.array([seed % 9]))
            result = self.json("loss", "x.npy", "y.npy", "--reduction", "sum", "--row-loss", "row.npy")
            self.assertEqual(result["loss"], self.load("row.npy")[0])
            text = self.text("loss", "x.npy", "y.npy", "--reduction", "sum").splitlines()[0]
            self.assertEqual(float(text.split()[1]), result["loss"])

    def test_losses_that_json_has_no_number_for_are_strings(self):
        for row, expected in (([np.nan, 0], "NaN"), ([-np.inf, 0], "Infinity")):
            self.save("x.npy", np.array([row]))
            self.save("y.npy", np.array([0]))
            explains = "the loss is NaN: some logit is NaN" if expected == "NaN" else ""
            self.assertEqual(self.json("loss", "x.npy", "y.npy", explains=explains)["loss"], expected)
            self.assertIn(f"loss     {expected}\n", self.text("loss", "x.npy", "y.npy", explains=explains))

    def test_text_has_the_same_keys(self):
        self.save_inputs()
        result = self.json("loss", "x.npy", "y.npy")
        lines = [line.split(None, 1) for line in self.text("loss", "x.npy", "y.npy").splitlines()]
        self.assertEqual([key for key, _ in lines], KEYS[:7])
        self.assertEqual([value for _, value in lines], [str(result[key]) for key in KEYS[:7]])

    def test_every_supported_instruction_set_can_be_asked_for(self):
        self.save_inputs("f4", rows=33, classes=101)
        for isa in self.json("info")["isas"]:
            if isa["supported"]:
                result = self.json("loss", "x.npy", "y.npy", "--isa", isa["name"].upper())
                self.assertEqual(result["isa"], isa["name"])
                self.assertTrue(np.isfinite(result["loss"]))
            else:
                self.assert_refused(1, ["loss", "x.npy", "y.npy", "--isa", isa["name"]], "--isa", isa["name"])

    def test_threads_do_not_change_a_bit(self):
        self.save_inputs("f4", rows=999, classes=257)
        runs = []
        for threads in (1, 2, 3, 8):
            result = self.json("loss", "x.npy", "y.npy", "--threads", threads, *OUTPUTS)
            self.assertEqual(result.pop("threads"), threads)
            runs.append((result, [self.load(name).tobytes() for name in OUTPUTS[1::2]]))
        for run in runs[1:]:
            self.assertEqual(run, runs[0])

    def test_threads_default_to_the_environment(self):
        self.save_inputs()
        self.assertEqual(self.json("loss", "x.npy", "y.npy", environment={"XENT_NUM_THREADS": "3"})["threads"], 3)

    def test_empty_arrays(self):
        self.save("y.npy", np.zeros(0, "i8"))
        for shape in ((0, 5), (0, 0)):
            self.save("x.npy", np.zeros(shape, "f4"))
            self.assertEqual(self.json("loss", "x.npy", "y.npy", explains="the loss is NaN: .*no row counts")["loss"], "NaN")
            result = self.json("loss", "x.npy", "y.npy", "--reduction", "sum", *OUTPUTS)
            self.assertEqual((result["loss"], result["rows"], result["classes"]), (0, *shape))
            self.assertEqual(self.load("gradient.npy").shape, shape)
            self.assertEqual(self.load("row.npy").shape, (0,))


class Files(CommandCase):
    def test_every_npy_version(self):
        logits, _ = self.save_inputs()
        expected = self.json("loss", "x.npy", "y.npy")
        for version in ((1, 0), (2, 0), (3, 0)):
            self.save("x.npy", logits, version=version)
            self.assertEqual(self.json("loss", "x.npy", "y.npy"), expected)

    def test_headers_that_mean_the_same(self):
        logits, _ = self.save_inputs()
        expected = self.json("loss", "x.npy", "y.npy")
        for header in ("{'shape': (7, 11), 'descr': '<f4', 'fortran_order': False}",
                       "{'fortran_order':False,'shape':(7,11,),'descr':'<f4',}\n",
                       ' {\t"descr" :\n "<f4" , "fortran_order" : False , "shape" : ( 7L , 11L ) , } \n',
                       "{'descr': '=f4', 'fortran_order': False, 'shape': (007, 11), }"):
            for pad in range(4):
                self.save_bytes("x.npy", npy(header + " " * pad, logits.tobytes(), major=1 + pad % 3))
                self.assertEqual(self.json("loss", "x.npy", "y.npy"), expected)

    def test_whatever_is_read_numpy_reads_too(self):
        logits, labels = self.save_inputs()
        with open(self.path("x.npy"), "rb") as file:
            good = file.read()
        text = good.index(b"{")
        random = np.random.default_rng(5)
        accepted = 0
        for _ in range(400):
            damaged = bytearray(good)
            at = int(random.integers(text, text + 62))
            replacement = bytes(random.choice(list(b" '\"(){},:0123456789TFL<>=|fiuVd\x00\xff"), random.integers(0, 3)))
            damaged[at:at + len(replacement) if random.integers(2) else at] = replacement
            self.save_bytes("x.npy", bytes(damaged))
            result = self.run_command("loss", "x.npy", "y.npy", "--json")
            self.assertIn(result.returncode, (0, 1), (result, bytes(damaged[:128])))
            if result.returncode == 0:
                accepted += 1
                found = np.load(self.path("x.npy"), allow_pickle=False)
                self.assertEqual(found.shape, (7, json.loads(result.stdout)["classes"]))
        self.assertGreater(accepted, 20)

    def test_outputs_replace_files_and_leave_nothing_else(self):
        logits, labels = self.save_inputs("f8")
        self.save_bytes("row.npy", b"old")
        os.symlink("row.npy", self.path("link.npy"))
        self.text("loss", "x.npy", "y.npy", "--row-loss", "link.npy")
        self.assertTrue(os.path.islink(self.path("link.npy")))
        self.assertEqual(np.load(self.path("row.npy")).shape, (7,))
        self.assertEqual(sorted(os.listdir(self.folder)), ["link.npy", "row.npy", "x.npy", "y.npy"])

    def test_outputs_have_the_usual_permissions(self):
        self.save_inputs()
        self.text("loss", "x.npy", "y.npy", "--row-loss", "row.npy")
        mode = [os.stat(self.path(name)).st_mode for name in ("x.npy", "row.npy")]
        self.assertEqual(mode[0], mode[1])
        os.chmod(self.path("row.npy"), 0o600)
        self.text("loss", "x.npy", "y.npy", "--row-loss", "row.npy")
        self.assertEqual(os.stat(self.path("row.npy")).st_mode & 0o777, 0o600)

    def test_an_interrupted_run_leaves_nothing_behind(self):
        rows, classes = 6000, 4000
        with open(self.path("x.npy"), "wb") as file:
            file.write(npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, {classes}), }}   "))
            file.truncate(file.tell() + rows * classes * 8)
        self.save("y.npy", np.zeros(rows, "i4"))
        command = [COMMAND, "loss", "x.npy", "y.npy", "--gradient", "gradient.npy", "--threads", "1"]
        for number in (signal.SIGTERM, signal.SIGINT):
            with subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL) as process:
                deadline = time.monotonic() + 60
                while len(os.listdir(self.folder)) == 2 and process.poll() is None and time.monotonic() < deadline:
                    pass
                self.assertEqual(len(os.listdir(self.folder)), 3, "there was no temporary file to be seen")
                process.send_signal(number)
                self.assertEqual(process.wait(60), -number)
            self.assertEqual(sorted(os.listdir(self.folder)), ["x.npy", "y.npy"])


if __name__ == "__main__":
    unittest.main()
