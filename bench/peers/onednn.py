"""oneDNN's log-softmax, forward and backward in place; the labels' part as a user would write it, in onednn_peer.cc."""

import ctypes
import os
import pathlib
import subprocess
import tempfile

from peers.peer import Peer as Base
from peers.peer import Unsupported, aligned_copy


def build():
    source = pathlib.Path(__file__).with_name("onednn_peer.cc")
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "libonednn_peer.so")
        command = [os.environ.get("CXX", "g++"), "-std=c++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC",
                   str(source), "-o", target, "-ldnnl"]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode != 0:
            errors = [line for line in ended.stderr.splitlines() if "error" in line] or ["no error named"]
            raise ImportError(f"onednn_peer.cc does not build without libdnnl-dev: {errors[0]}")
        library = ctypes.CDLL(target)
    library.onednn_version.restype = ctypes.c_char_p
    library.onednn_make.argtypes = [ctypes.c_int64] * 2
    library.onednn_make.restype = ctypes.c_void_p
    library.onednn_free.argtypes = [ctypes.c_void_p]
    library.onednn_run.argtypes = [ctypes.c_void_p] * 5
    library.onednn_run.restype = ctypes.c_double
    return library


class Peer(Base):
    def __init__(self, threads):
        super().__init__(threads)
        self.library = build()
        self.handle = None

    def version(self):
        return f"oneDNN {self.library.onednn_version().decode()}"

    def prepare(self, case, x, targets, slots):
        if case.dtype != "f32":
            raise Unsupported("f32 only, here")
        if len(case.shape) > 2:
            raise Unsupported("images are left to its reference code: seconds per call")
        self.library.onednn_free(self.handle)
        self.handle = self.library.onednn_make(case.rows, case.classes)
        if self.handle is None:
            raise Unsupported("has no such log-softmax")
        xs, ts = [aligned_copy(x) for _ in range(slots)], [aligned_copy(targets) for _ in range(slots)]
        logs = aligned_copy(x, 0)
        wants_gradient = case.output == "gradient"
        gradients = [aligned_copy(x, 0) if wants_gradient else None for _ in range(slots)]

        def run(slot):
            gradient = gradients[slot]
            loss = self.library.onednn_run(self.handle, xs[slot].ctypes.data, ts[slot].ctypes.data, logs.ctypes.data,
                                           gradient.ctypes.data if wants_gradient else None)
            return loss, gradient
        return {"in place" if wants_gradient else "log-softmax": run}
