"""Functions of arrays from C: a loop over glibc's, libmvec, SLEEF, Highway's contrib/math; timed in functions_peers.cc.

One form for each of them that this machine has; the report names the fastest.
"""

import ctypes
import os
import pathlib
import subprocess
import tempfile

from peers.peer import Peer as Base
from peers.peer import Unsupported, aligned_copy

NUMBERS = {name: number for number, name in enumerate(
    ("exp", "log", "log1p", "expm1", "sigmoid", "log_sigmoid", "softplus", "tanh"), start=1)}
DTYPES = {"f32": 1, "f64": 2}
# Name, macro, header, libraries to link.
OPTIONAL = (("SLEEF (libsleef-dev)", "-DXENT_PEERS_SLEEF", "sleef.h", ["-lsleef"]),
            ("Highway contrib (libhwy-dev)", "-DXENT_PEERS_HWY", "hwy/contrib/math/math-inl.h", []))


def build():
    """The shared library, loaded, with as many peers as there are; the names of those that are not."""
    source = pathlib.Path(__file__).with_name("functions_peers.cc")
    compiler = [os.environ.get("CXX", "g++"), "-std=c++17"]
    flags, libraries, missing = [], [], []
    for name, macro, header, needs in OPTIONAL:
        probe = subprocess.run(compiler + ["-E", "-x", "c++", "-", "-include", header], input="", capture_output=True,
                               text=True)
        if probe.returncode != 0:
            missing.append(name)
            continue
        flags.append(macro)
        libraries += needs
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "libpeers.so")
        subprocess.run(compiler + ["-O3", "-march=native", "-Wno-ignored-attributes", "-fopenmp", "-shared", "-fPIC",
                                   *flags, str(source), "-o", target, *libraries, "-lmvec", "-lm"], check=True)
        library = ctypes.CDLL(target)
    library.peer_name.restype = ctypes.c_char_p
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    library.time_peer.argtypes = [ctypes.c_int] * 3 + [pointer, pointer, size, size]
    library.time_vml.argtypes = [pointer, pointer, pointer, size, size, size]
    library.time_peer.restype = library.time_vml.restype = ctypes.c_double
    return library, missing


class TimedArray:
    """A form whose calls are timed in C: time(x, y, repeats) gives the seconds of one."""

    def __init__(self, xs, ys, time):
        self.xs, self.ys, self.time = xs, ys, time

    def __call__(self, slot):
        self.time(self.xs[slot], self.ys[slot], 1)
        return self.ys[slot]

    def seconds(self, first, calls):
        """Repeats in one buffer if there is one; otherwise over the next copies."""
        if len(self.xs) == 1:
            return calls * self.time(self.xs[0], self.ys[0], calls)
        slots = ((first + i) % len(self.xs) for i in range(calls))
        return sum(self.time(self.xs[slot], self.ys[slot], 1) for slot in slots)


class Peer(Base):
    def __init__(self, threads):
        super().__init__(threads)
        self.library, self.missing = build()
        self.names = [self.library.peer_name(i).decode() for i in range(self.library.peer_count())]

    def version(self):
        absent = f"; not installed: {', '.join(self.missing)}" if self.missing else ""
        return f"{', '.join(self.names)}{absent}"

    def prepare(self, case, x, targets, slots):
        if case.kind != "map":
            raise Unsupported("has functions of arrays only")
        function, dtype = NUMBERS[case.output], DTYPES[case.dtype]
        peers = [i for i in range(len(self.names)) if self.library.peer_has(i, function, dtype)]
        if not peers:
            raise Unsupported("has no such function")
        xs, ys = [aligned_copy(x) for _ in range(slots)], [aligned_copy(x, 0) for _ in range(slots)]

        def timer(peer):
            return lambda x, y, repeats: self.library.time_peer(peer, function, dtype, x.ctypes.data, y.ctypes.data,
                                                                x.size, repeats)
        return {self.names[peer]: TimedArray(xs, ys, timer(peer)) for peer in peers}
