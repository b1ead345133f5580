"""scikit-learn's losses behind its linear models and boosting: multinomial of logits [N, C], binomial of logits.

Its gradients are those of the sum: not divided by the rows. They are compared as such.
"""

import numpy as np
import sklearn
from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss

from peers.peer import Peer as Base
from peers.peer import Unsupported


class Peer(Base):
    def version(self):
        return f"scikit-learn {sklearn.__version__}"

    def prepare(self, case, x, targets, slots):
        if case.kind == "map":
            raise Unsupported("has no functions of arrays")
        if case.dtype not in ("f32", "f64"):
            raise Unsupported(f"takes no {case.dtype}")
        if len(case.shape) > 2:
            raise Unsupported("takes no images")
        loss = HalfMultinomialLoss(n_classes=case.classes) if case.kind == "softmax" else HalfBinomialLoss()
        xs, ts = [x.copy() for _ in range(slots)], [targets.astype(x.dtype) for _ in range(slots)]
        losses = np.zeros(case.rows, x.dtype)
        self.rows = case.rows
        if case.output == "loss":
            def value(slot):
                return loss.loss(ts[slot], xs[slot], loss_out=losses, n_threads=self.threads).mean(), None
            return {"out=": value}
        gradients = [np.zeros_like(x) for _ in range(slots)]

        def both(slot):
            value, gradient = loss.loss_gradient(ts[slot], xs[slot], loss_out=losses, gradient_out=gradients[slot],
                                                 n_threads=self.threads)
            return value.mean(), gradient
        return {"out=": both}

    def numpy(self, array):
        return array / self.rows if array.ndim > 0 else array
