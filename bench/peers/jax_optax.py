"""JAX: optax's losses under jit, value_and_grad where the gradient is wanted; jax.numpy and jax.nn for arrays."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax

from peers.peer import Peer as Base

FUNCTIONS = {"sigmoid": jax.nn.sigmoid, "softplus": jax.nn.softplus, "log_sigmoid": jax.nn.log_sigmoid}


def softmax_loss(x, labels):
    if x.ndim > 2:
        x = jnp.moveaxis(x, 1, -1)
    return optax.losses.softmax_cross_entropy_with_integer_labels(x, labels).mean()


def sigmoid_loss(x, targets):
    return optax.losses.sigmoid_binary_cross_entropy(x, targets).mean()


class Peer(Base):
    def __init__(self, threads):
        super().__init__(threads)
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)  # for f64 and 64-bit labels

    def version(self):
        return f"JAX {jax.__version__}, optax {optax.__version__}"

    def prepare(self, case, x, targets, slots):
        if case.dtype == "bf16":
            x = x.view(ml_dtypes.bfloat16)
        xs = [jnp.array(x, copy=True) for _ in range(slots)]
        if case.kind == "map":
            function = jax.jit(FUNCTIONS.get(case.output) or getattr(jnp, case.output))
            return {"jit": lambda slot: function(xs[slot]).block_until_ready()}
        ts = [jnp.array(targets, copy=True) for _ in range(slots)]
        loss = softmax_loss if case.kind == "softmax" else sigmoid_loss
        if case.output == "loss":
            value = jax.jit(loss)
            return {"jit": lambda slot: (value(xs[slot], ts[slot]).block_until_ready(), None)}
        both = jax.jit(jax.value_and_grad(loss))
        return {"jit": lambda slot: jax.block_until_ready(both(xs[slot], ts[slot]))}

    def numpy(self, array):
        array = np.asarray(array)
        return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
