"""xent loss: what it refuses. Every refusal is one sentence, and leaves no output file."""

import os
import pickle
import resource
import stat
import subprocess
import unittest

import numpy as np
from harness import COMMAND, CommandCase, npy


class Arguments(CommandCase):
    def setUp(self):
        super().setUp()
        self.save_inputs()

    def refuse(self, code, options, *words):
        self.assert_refused(code, ["loss", "x.npy", "y.npy", *options], *words)

    def test_values_that_are_not_numbers_in_range(self):
        for value in ("0", "-1", "1025", "two", "1.5", "99999999999999999999", "0x2", " 2", "2 "):
            self.refuse(2, [f"--threads={value}"], "--threads", f'"{value}"', "1024")
        self.refuse(2, ["--threads="], "--threads")
        for value in ("nan", "1e3", "9223372036854775808", "-9223372036854775809"):
            self.refuse(2, [f"--ignore-index={value}"], "--ignore-index", value)

    def test_names_that_are_not_known(self):
        self.refuse(2, ["--reduction", "median"], "--reduction", "median", "none, sum or mean")
        self.refuse(2, ["--isa", "mmx"], "--isa", "mmx", self.json("info")["isas"][-1]["name"])

    def test_outputs_that_are_inputs_or_each_other(self):
        os.symlink("x.npy", self.path("link.npy"))
        os.link(self.path("y.npy"), self.path("hard.npy"))
        os.mkdir(self.path("folder"))
        for output in ("x.npy", "./x.npy", "folder/../x.npy", "link.npy", self.path("x.npy")):
            self.refuse(2, ["--gradient", output], "--gradient", output, "LOGITS")
        self.refuse(2, ["--lse", "hard.npy"], "--lse", "hard.npy", "LABELS")
        self.refuse(2, ["--lse", "new.npy", "--gradient", "folder/../new.npy"], "--gradient", "--lse", "same file")
        self.refuse(2, ["--row-loss", "new.npy", "--lse", "new.npy"], "--row-loss", "--lse", "same file")

    def test_outputs_that_cannot_be_files(self):
        os.mkdir(self.path("folder"))
        self.refuse(2, ["--lse", ""], "--lse")
        self.refuse(1, ["--lse", "folder"], "--lse", "folder", "regular file")
        os.mkfifo(self.path("pipe"))
        self.refuse(1, ["--lse", "pipe"], "--lse", "pipe", "regular file")
        self.assertTrue(stat.S_ISFIFO(os.stat(self.path("pipe")).st_mode))
        self.refuse(1, ["--lse", "nowhere/lse.npy"], "--lse", "nowhere/lse.npy", "No such file")

    def test_a_later_output_that_fails_leaves_no_earlier_one(self):
        self.refuse(1, ["--row-loss", "row.npy", "--lse", "lse.npy", "--gradient", "nowhere/g.npy"], "nowhere/g.npy")

    def test_a_disk_that_fills_up_leaves_no_output(self):
        self.save_inputs(rows=100, classes=100)

        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

        self.save_bytes("row.npy", b"old")
        command = [COMMAND, "loss", "x.npy", "y.npy", "--row-loss", "row.npy", "--gradient", "gradient.npy"]
        before = sorted(os.listdir(self.folder))
        result = subprocess.run(command, cwd=self.folder, preexec_fn=limit, capture_output=True, text=True, timeout=60,
                                check=False)
        self.assertEqual((result.returncode, result.stdout), (1, ""), result)
        self.assertRegex(result.stderr, r'\Axent: --gradient "gradient.npy" cannot be written[^\n]*\n\Z')
        self.assertEqual(sorted(os.listdir(self.folder)), before)
        with open(self.path("row.npy"), "rb") as file:
            self.assertEqual(file.read(), b"old")

    def test_labels_out_of_range(self):
        outputs = ["--row-loss", "row.npy", "--gradient", "gradient.npy"]
        for label in (11, -1, 2**40):
            self.save("y.npy", np.array([0, 0, 0, label, 0, 0, 0]))
            self.refuse(1, outputs, "XENT_INVALID_LABEL", "labels[3]", label)
        self.save("y.npy", np.array([0, 0, 2**63, 0, 0, 0, 0], "u8"))
        self.refuse(1, outputs, "LABELS", 2**63, "label 2", 2**63 - 1)


class Inputs(CommandCase):
    def setUp(self):
        super().setUp()
        self.save_inputs()
        self.outputs = ["--row-loss", "row.npy", "--lse", "lse.npy", "--gradient", "gradient.npy"]

    def refuse(self, *words, options=()):
        self.assert_refused(1, ["loss", "x.npy", "y.npy", *self.outputs, *options], *words)

    def test_files_that_are_not_there_or_not_files(self):
        os.mkdir(self.path("folder"))
        os.mkfifo(self.path("pipe"))
        for name, word in (("none.npy", "No such file"), ("folder", "regular file"), ("pipe", "regular file")):
            self.assert_refused(1, ["loss", name, "y.npy", *self.outputs], "LOGITS", name, word)
            self.assert_refused(1, ["loss", "x.npy", name, *self.outputs], "LABELS", name, word)

    def test_files_of_another_kind(self):
        for data in (b"", b"\x93", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x10", b"1,2,3\n4,5,6\n",
                     b"\x94NUMPY\x01\x00" + b" " * 99):
            self.save_bytes("x.npy", data)
            self.refuse("LOGITS", "x.npy", ".npy")
        np.savez(self.path("x.npz"), x=np.zeros(3))
        self.assert_refused(1, ["loss", "x.npz", "y.npy", *self.outputs], "LOGITS", ".npz")
        self.save_bytes("x.npy", pickle.dumps(np.zeros((7, 11))))
        self.refuse("LOGITS", "not a .npy file")

    def test_versions_that_are_not_known(self):
        for version in (b"\x00\x00", b"\x04\x00", b"\x01\x01", b"\xff\xff"):
            self.save_bytes("x.npy", b"\x93NUMPY" + version + b"\x10\x00\x00\x00" + b" " * 99)
            self.refuse("LOGITS", f"version {version[0]}.{version[1]}")

    def test_pickled_objects_are_never_read(self):
        marker = self.path("executed")
        harmful = type("Harmful", (), {"__reduce__": lambda self: (open, (marker, "w"))})()
        array = np.empty((7, 11), object)
        array[0, 0] = harmful
        with open(self.path("x.npy"), "wb") as file:
            np.lib.format.write_array(file, array, allow_pickle=True)
        if os.path.exists(marker):
            os.remove(marker)
        self.refuse("LOGITS", "pickled")
        self.assertFalse(os.path.exists(marker))

    def test_fortran_order(self):
        self.save("x.npy", np.zeros((7, 11), "f4", order="F"))
        self.refuse("LOGITS", "Fortran", "ascontiguousarray")

    def test_foreign_byte_order(self):
        self.save("x.npy", np.zeros((7, 11), ">f4"))
        self.refuse("LOGITS", ">f4", "newbyteorder")
        self.save_inputs(labels_type=">i4")
        self.refuse("LABELS", ">i4", "newbyteorder")

    def test_types_that_are_not_logits(self):
        for kind, text in (("i4", "<i4"), ("?", "|b1"), ("c8", "<c8"), ("S4", "|S4"), ("U2", "<U2"), ("M8[s]", None),
                           ("f16", "<f16"), ("V4", "|V4")):
            self.save("x.npy", np.zeros((7, 11), kind))
            self.refuse("LOGITS", text or "M8")
        self.save("x.npy", np.zeros((7, 11), "u2"))
        self.refuse("LOGITS", "<u2", "--bf16")
        for kind in ("f4", "f8", "u1", "i8"):
            self.save("x.npy", np.zeros((7, 11), kind))
            self.refuse("LOGITS", kind, "--bf16", options=["--bf16"])
        self.save("x.npy", np.zeros((7, 11), [("a", "f4"), ("b", "f4")]))
        self.refuse("LOGITS", "structured")

    def test_types_that_are_not_labels(self):
        for kind in ("f4", "f8", "c8", "V2"):
            self.save("y.npy", np.zeros(7, kind))
            self.refuse("LABELS", kind, "integers")
        self.save("y.npy", np.zeros(7, "S1"))
        self.refuse("LABELS", "|S1")
        self.save("y.npy", np.zeros(7, bool))
        self.refuse("LABELS", "bool", "uint8")

    def test_wrong_shapes(self):
        self.save("x.npy", np.zeros((), "f4"))
        self.refuse("LOGITS", "0 dimensions", "1 or more")
        self.save("x.npy", np.zeros((7, 11, 1), "f4"))
        self.refuse("LABELS", "1 dimension", "2")
        self.save_inputs()
        for shape in ((), (7, 1), (1, 7)):
            self.save("y.npy", np.zeros(shape, "i4"))
            self.refuse("LABELS", f"{len(shape)} dimension", "1")
        for rows in (0, 6, 8):
            self.save("y.npy", np.zeros(rows, "i4"))
            self.refuse("LABELS", f"{rows} labels", "LOGITS", "7 rows")
        self.save_inputs(classes=11)
        self.save("x.npy", np.zeros((7, 0), "f4"))
        self.refuse("classes")

    def test_lengths_that_do_not_match(self):
        with open(self.path("x.npy"), "rb") as file:
            good = file.read()
        for data in (good[:-1], good + b"\0", good[:-308], good + good):
            self.save_bytes("x.npy", data)
            self.refuse("LOGITS", len(data) - 128, "308")

    def test_sizes_that_overflow(self):
        for shape in ("(4611686018427387904, 4)", "(9223372036854775807, 9223372036854775807)",
                      "(99999999999999999999, 1)", "(2305843009213693952, 1)"):
            self.save_bytes("x.npy", npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"))
            self.refuse("LOGITS", "shape")

    def test_headers_that_are_too_long(self):
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (7, 11), }"
        self.save_bytes("x.npy", npy(header + " " * 70000, bytes(308), major=2))
        self.refuse("LOGITS", "70060")
        self.save_bytes("x.npy", b"\x93NUMPY\x03\x00\xff\xff\xff\xff" + header.encode())
        self.refuse("LOGITS", 2**32 - 1)
        self.save_bytes("x.npy", b"\x93NUMPY\x01\x00\xff\xff" + header.encode())
        self.refuse("LOGITS", "ends within")

    def test_headers_that_are_not_the_dict(self):
        entries = {"descr": "'<f4'", "fortran_order": "False", "shape": "(7, 11)"}
        for key in entries:
            rest = ", ".join(f"'{name}': {value}" for name, value in entries.items() if name != key)
            self.save_bytes("x.npy", npy(f"{{{rest}}}", bytes(308)))
            self.refuse("LOGITS", f"no key '{key}'")
            self.save_bytes("x.npy", npy(f"{{{rest}, '{key}': {entries[key]}, '{key}': {entries[key]}}}", bytes(308)))
            self.refuse("LOGITS", f"'{key}' twice")
        for header in ("", "{}", "{'descr'}", "{descr: '<f4'}", "__import__('os')", "{'x': 1}", "{'a\x1b[31m': 1}",
                       "{'descr': '<f4', 'fortran_order': 0, 'shape': (7, 11)}",
                       "{'descr': '<f4', 'fortran_order': False, 'shape': [7, 11]}",
                       "{'descr': '<f4', 'fortran_order': False, 'shape': (-7, -11)}",
                       "{'descr': '<f4', 'fortran_order': False, 'shape': (7., 11)}",
                       "{'descr': '<f4', 'fortran_order': False, 'shape': (77)}",
                       "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
                       "{'descr': '<f4', 'fortran_order': False, 'shape': (7, 11)",
                       "{'descr': '<f4', 'fortran_order': False, 'shape': (7, 11)} x",
                       "{'descr': '<f4, 'fortran_order': False, 'shape': (7, 11)}",
                       "{'descr': '<x4', 'fortran_order': False, 'shape': (7, 11)}",
                       "{'descr': 'f', 'fortran_order': False, 'shape': (7, 11)}",
                       "{'descr': '', 'fortran_order': False, 'shape': (7, 11)}",
                       "{'descr': '<f4444444444', 'fortran_order': False, 'shape': (7, 11)}"):
            self.save_bytes("x.npy", npy(header, bytes(308)))
            self.refuse("LOGITS", "x.npy")
        shape = "1, " * 65
        self.save_bytes("x.npy", npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape})}}", bytes(4)))
        self.refuse("LOGITS", "more than 64 dimensions")
        self.save_inputs()
        self.save_bytes("y.npy", npy("{'descr': '<i4', 'fortran_order': False, 'shape': (7)}", bytes(28)))
        self.refuse("LABELS", "not a tuple")


if __name__ == "__main__":
    unittest.main()
