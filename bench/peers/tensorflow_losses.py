"""TensorFlow's losses in a tf.function, as a graph and through XLA; a gradient tape where the gradient is wanted."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import ml_dtypes  # noqa: E402
import tensorflow as tf  # noqa: E402

from peers.peer import Peer as Base  # noqa: E402

FUNCTIONS = {"exp": tf.exp, "log": tf.math.log, "log1p": tf.math.log1p, "expm1": tf.math.expm1, "tanh": tf.tanh,
             "sigmoid": tf.sigmoid, "softplus": tf.math.softplus, "log_sigmoid": tf.math.log_sigmoid}


def softmax_loss(x, labels):
    if len(x.shape) > 2:
        x = tf.transpose(x, (0, *range(2, len(x.shape)), 1))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x))


def sigmoid_loss(x, targets):
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=x))


def with_gradient(loss):
    def call(x, targets):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x, targets)
        return value, tape.gradient(value, x)
    return call


class Peer(Base):
    def __init__(self, threads):
        super().__init__(threads)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)

    def version(self):
        return f"TensorFlow {tf.__version__}"

    def prepare(self, case, x, targets, slots):
        if case.dtype == "bf16":
            x = x.view(ml_dtypes.bfloat16)
        xs = [tf.identity(tf.constant(x)) for _ in range(slots)]
        if case.kind == "map":
            function = tf.function(FUNCTIONS[case.output])
            return {"tf.function": lambda slot: function(xs[slot])}
        ts = [tf.identity(tf.constant(targets)) for _ in range(slots)]
        loss = softmax_loss if case.kind == "softmax" else sigmoid_loss
        call = with_gradient(loss) if case.output == "gradient" else lambda x, t: (loss(x, t), None)
        graph, xla = tf.function(call), tf.function(call, jit_compile=True)
        return {"tf.function": lambda slot: graph(xs[slot], ts[slot]), "XLA": lambda slot: xla(xs[slot], ts[slot])}

    def numpy(self, array):
        return (tf.cast(array, tf.float32) if array.dtype == tf.bfloat16 else array).numpy()
