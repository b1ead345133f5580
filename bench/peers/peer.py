"""What a peer is to the worker: a class Peer in a file of its own, imported in a process of its own.

    Peer(threads)                          imports its library
    .version()                             for the head of the report
    .prepare(case, x, targets, slots)      forms of the call by name: form(slot) -> (loss, gradient) or an array
    .numpy(array)                          a result of its own type as a NumPy array (bf16: its words)

Each slot is a copy of the inputs in the peer's own type, and whatever it can allocate in advance. A form must have
finished when it returns. It may have `seconds(slot, calls)`, which times itself, where Python in between would count.
"""

import numpy as np


class Unsupported(Exception):
    """The peer has no such call; says what is missing."""


class Peer:
    def __init__(self, threads):
        self.threads = threads

    def numpy(self, array):
        return array


def aligned_copy(x, fill=None):
    """A copy on a cache line, or as much memory filled with a value. Pages are touched."""
    memory = np.empty(x.nbytes + 64, dtype=np.uint8)
    start = -memory.ctypes.data % 64
    copy = memory[start:start + x.nbytes].view(x.dtype).reshape(x.shape)
    copy[...] = x if fill is None else fill
    return copy
