"""PyTorch as its users call it, and its own kernels behind that with `out=` into buffers that exist already."""

import numpy as np
import torch
import torch.nn.functional as F

from peers.peer import Peer as Base

TYPES = {"f32": torch.float32, "f64": torch.float64, "bf16": torch.bfloat16, "f16": torch.float16}
aten = torch.ops.aten


def tensor(x, dtype):
    """A tensor with memory of its own; bf16 comes as words."""
    if x.dtype == np.uint16:
        return torch.from_numpy(x.view(np.int16).copy()).view(TYPES[dtype])
    return torch.from_numpy(x.copy())


def without_gradient(loss):
    def call(x, targets):
        with torch.no_grad():
            return loss(x, targets), None
    return call


def with_gradient(loss):
    def call(x, targets):
        leaf = x.detach().requires_grad_(True)
        value = loss(leaf, targets)
        value.backward()
        return value.detach(), leaf.grad
    return call


class Softmax:
    """The kernels of cross_entropy and its backward, each into memory that exists."""

    def __init__(self, x, wants_gradient):
        self.wants_gradient = wants_gradient
        self.log_softmax = torch.empty_like(x)
        self.upstream = torch.ones((), dtype=x.dtype)
        self.of_losses = torch.empty_like(x) if wants_gradient else None
        image = x.dim() > 2
        self.forward = aten.nll_loss2d_forward if image else aten.nll_loss_forward
        self.backward = aten.nll_loss2d_backward.grad_input if image else aten.nll_loss_backward.grad_input

    def __call__(self, x, labels, gradient):
        """Of [N, C], [N, C, H, W] or what has been reshaped to one of them."""
        with torch.no_grad():
            aten._log_softmax.out(x, 1, False, out=self.log_softmax)
            loss, weight = self.forward(self.log_softmax, labels, None, 1, -100)
            if self.wants_gradient:
                self.of_losses.zero_()
                self.backward(self.upstream, self.log_softmax, labels, None, 1, -100, weight, grad_input=self.of_losses)
                aten._log_softmax_backward_data.out(self.of_losses, self.log_softmax, 1, x.dtype, out=gradient)
        return loss, gradient


PLAIN_FORMS = {"softplus": F.softplus, "log_sigmoid": F.logsigmoid}
OUT_FORMS = {"softplus": lambda x, y: aten.softplus.out(x, 1, 20, out=y),
             "log_sigmoid": lambda x, y: aten.log_sigmoid.out(x, out=y)}


class Peer(Base):
    def __init__(self, threads):
        super().__init__(threads)
        torch.set_num_threads(threads)

    def version(self):
        return f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"

    def prepare(self, case, x, targets, slots):
        xs = [tensor(x, case.dtype) for _ in range(slots)]
        if case.kind == "map":
            return self.function(case, xs)
        ts = [tensor(targets, case.dtype) for _ in range(slots)]
        if len(case.shape) == 3:  # the kernels know [N, C] and [N, C, H, W], and cross_entropy does the same
            xs, ts = [x.unsqueeze(2) for x in xs], [t.unsqueeze(1) for t in ts]
        loss = F.binary_cross_entropy_with_logits if case.kind == "sigmoid" else F.cross_entropy
        call = (without_gradient if case.output == "loss" else with_gradient)(loss)
        forms = {"user": lambda slot: call(xs[slot], ts[slot])}
        if case.kind == "softmax":
            gradients = [torch.zeros_like(x) if case.output == "gradient" else None for x in xs]
            kernels = Softmax(xs[0], case.output == "gradient")
            forms["out="] = lambda slot: kernels(xs[slot], ts[slot], gradients[slot])
        return forms

    def function(self, case, xs):
        ys = [torch.zeros_like(x) for x in xs]
        write = OUT_FORMS.get(case.output) or (lambda x, y: getattr(torch, case.output)(x, out=y))
        plain = PLAIN_FORMS.get(case.output) or getattr(torch, case.output)
        return {"user": lambda slot: plain(xs[slot]), "out=": lambda slot: write(xs[slot], ys[slot])}

    def numpy(self, array):
        return (array.detach().float() if array.dtype == torch.bfloat16 else array.detach()).numpy()
