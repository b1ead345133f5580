"""What the tests of the xent command share: running it in a fresh folder, and saying what a refusal looks like.

XENT_COMMAND is the path of the executable. To repeat one test:
    XENT_COMMAND=build/dev/tools/xent python3 -m unittest test_loss.Loss.test_name      (in tests/command)
"""

import json
import os
import pty
import subprocess
import tempfile
import unittest

import numpy as np

COMMAND = os.path.abspath(os.environ["XENT_COMMAND"])


class CommandCase(unittest.TestCase):
    """Each test runs in an empty folder of its own; paths are names in it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="xent-command-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def open_terminal(self):
        """Both ends of a terminal; containers may have none to give."""
        try:
            return pty.openpty()
        except OSError as error:
            return self.skipTest(f"no terminal: {error}")

    def run_command(self, *arguments, environment=None):
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("XENT_", "OMP_"))}
        return subprocess.run([COMMAND, *map(str, arguments)], cwd=self.folder, env={**clean, **(environment or {})},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)

    def text(self, *arguments, explains="", **options):
        """Standard output of a run that succeeds and has nothing to say on standard error but a sentence like `explains`."""
        result = self.run_command(*arguments, **options)
        self.assertEqual(result.returncode, 0, (arguments, result.stderr))
        self.assertRegex(result.stderr, rf"\Axent: {explains}[^\n]*\n\Z" if explains else r"\A\Z", arguments)
        return result.stdout

    def json(self, *arguments, **options):
        def refuse(constant):
            raise AssertionError(f"{constant} is not JSON")

        return json.loads(self.text(*arguments, "--json", **options), parse_constant=refuse)

    def assert_refused(self, code, arguments, *words):
        """Exit code, one sentence on standard error with all the words, nothing on standard output, no new file."""
        before = sorted(os.listdir(self.folder))
        result = self.run_command(*arguments)
        self.assertEqual(result.returncode, code, (arguments, result))
        self.assertEqual(result.stdout, "")
        self.assertRegex(result.stderr, r"\Axent: [^\n]+\n\Z")
        for word in words:
            self.assertIn(str(word), result.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def create(self, name):
        """A new file: writing over an old one waits for the disk on some file systems."""
        if os.path.exists(self.path(name)):
            os.remove(self.path(name))
        return open(self.path(name), "xb")

    def save(self, name, array, version=None):
        with self.create(name) as file:
            np.lib.format.write_array(file, np.asarray(array), version=version)

    def save_bytes(self, name, data):
        with self.create(name) as file:
            file.write(data)

    def save_inputs(self, logits_type="f4", labels_type="i8", rows=7, classes=11):
        """Random logits x.npy and labels y.npy, and both as arrays."""
        random = np.random.default_rng(rows * 1000 + classes)
        logits = (random.standard_normal((rows, classes)) * 4).astype(logits_type)
        labels = random.integers(0, classes, rows).astype(labels_type)
        self.save("x.npy", logits)
        self.save("y.npy", labels)
        return logits, labels


def npy(header, data=b"", major=1):
    """A .npy file from the text of its header."""
    text = header.encode("latin1") if isinstance(header, str) else header
    length = len(text).to_bytes(2 if major == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([major, 0]) + length + text + data


def reference(logits, labels, ignore_index=-100):
    """Row losses, log-sum-exps and gradients of the row losses, in long double where the machine has it."""
    x = np.asarray(logits).astype(np.longdouble)
    rows = np.arange(len(x))
    counted = np.asarray(labels).astype(object) != ignore_index
    picked = np.where(counted, np.asarray(labels).astype(np.int64), 0)
    largest = x.max(axis=1)
    lse = largest + np.log(np.exp(x - largest[:, None]).sum(axis=1))
    gradient = np.exp(x - lse[:, None])
    gradient[rows, picked] -= 1
    return (np.where(counted, lse - x[rows, picked], 0), np.where(counted, lse, 0),
            np.where(counted[:, None], gradient, 0))
