"""torch.compile, warmed up, of the loss; backward where the gradient is wanted."""

import os

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")  # no pool of idle processes beside the others

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

from peers import torch_eager  # noqa: E402
from peers.peer import Unsupported  # noqa: E402


class Peer(torch_eager.Peer):
    def version(self):
        return f"torch.compile of PyTorch {torch.__version__}"

    def prepare(self, case, x, targets, slots):
        if case.kind == "map":
            raise Unsupported("arrays: see PyTorch")
        torch._dynamo.reset()
        xs, ts = ([torch_eager.tensor(a, case.dtype) for _ in range(slots)] for a in (x, targets))
        loss = F.binary_cross_entropy_with_logits if case.kind == "sigmoid" else F.cross_entropy
        compiled = torch.compile(lambda x, t: loss(x, t), dynamic=False)
        wrap = torch_eager.without_gradient if case.output == "loss" else torch_eager.with_gradient
        call = wrap(compiled)
        return {"compiled": lambda slot: call(xs[slot], ts[slot])}
