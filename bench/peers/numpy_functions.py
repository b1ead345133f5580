"""NumPy's functions of arrays, into arrays that exist; one thread."""

import numpy as np

from peers.peer import Peer as Base
from peers.peer import Unsupported, aligned_copy


class Peer(Base):
    def version(self):
        return f"NumPy {np.__version__} (one thread)"

    def prepare(self, case, x, targets, slots):
        if case.kind != "map" or not hasattr(np, case.output):
            raise Unsupported("has no such function")
        function = getattr(np, case.output)
        xs, ys = [aligned_copy(x) for _ in range(slots)], [aligned_copy(x, 0) for _ in range(slots)]
        return {"out=": lambda slot: function(xs[slot], out=ys[slot])}
