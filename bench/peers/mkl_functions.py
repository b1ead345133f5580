"""MKL's vector functions (VML) in their accurate mode, timed in C."""

import ctypes
import glob
import os
import sys

os.environ.setdefault("MKL_THREADING_LAYER", "GNU")

from peers.native_functions import TimedArray, build  # noqa: E402
from peers.peer import Peer as Base  # noqa: E402
from peers.peer import Unsupported, aligned_copy  # noqa: E402

NAMES = {"exp": "Exp", "log": "Ln", "log1p": "Log1p", "expm1": "Expm1", "tanh": "Tanh"}
PREFIXES = {"f32": "vms", "f64": "vmd"}
VML_HA = 2


class Peer(Base):
    def __init__(self, threads):
        super().__init__(threads)
        self.timer, _ = build()
        paths = sorted(glob.glob(os.path.join(sys.prefix, "lib", "libmkl_rt.so*")))
        if not paths:
            raise ImportError(f"no libmkl_rt.so in {sys.prefix}/lib")
        self.library = ctypes.CDLL(paths[-1], mode=ctypes.RTLD_GLOBAL)

    def version(self):
        text = ctypes.create_string_buffer(200)
        self.library.mkl_get_version_string(text, 200)
        return text.value.decode().strip()

    def prepare(self, case, x, targets, slots):
        if case.kind != "map" or case.output not in NAMES:
            raise Unsupported("has no such function")
        entry = ctypes.cast(getattr(self.library, PREFIXES[case.dtype] + NAMES[case.output]), ctypes.c_void_p)
        xs, ys = [aligned_copy(x) for _ in range(slots)], [aligned_copy(x, 0) for _ in range(slots)]
        return {"VML_HA": TimedArray(xs, ys, lambda x, y, repeats: self.timer.time_vml(
            entry, x.ctypes.data, y.ctypes.data, x.size, VML_HA, repeats))}
