"""Inputs of a case, drawn once and left in files for every peer's process, with what is right in float64 beside them.

Logits are 4 * N(0, 1), labels uniform 64-bit integers, binary targets 0 or 1, arguments 4 * N(0, 1), without the sign
for logarithms. Gradients are compared at some rows only. Functions are judged on a million other arguments, half of
them +-2^u with u uniform in (-20, 6.4), against long double.
"""

import pathlib

import numpy as np

NUMPY_TYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "bf16": np.uint16}
SAMPLED_ROWS = 64
SAMPLED_ELEMENTS = 4096
ERROR_ARGUMENTS = 1000000
BLOCK = 1 << 22  # elements that are widened at a time


def to_storage(x, dtype):
    """An array of f32 or f64 in the storage type; bf16 as its words, rounded to the nearest."""
    if dtype != "bf16":
        return x.astype(NUMPY_TYPES[dtype], copy=False)
    words = x.astype(np.float32).view(np.uint32)
    return ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype(np.uint16)


def to_double(x):
    if x.dtype == np.uint16:
        return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return x.astype(np.float64)


def normal(random, shape, dtype):
    x = random.standard_normal(shape, dtype=np.float64 if dtype == "f64" else np.float32)
    x *= 4
    return to_storage(x, dtype)


def softmax_expected(x, labels, wants_gradient):
    """The mean loss, and the gradient at some rows: their numbers [S, 2] (image, pixel) and values [S, C]."""
    outer, classes = x.shape[:2]
    x, labels = x.reshape(outer, classes, -1), labels.reshape(outer, -1)
    inner = x.shape[2]
    rows = outer * inner
    step = max(1, BLOCK // (classes * inner))
    total = 0.0
    for begin in range(0, outer, step):
        block = to_double(x[begin:begin + step])
        block -= block.max(axis=1, keepdims=True)
        of_label = np.take_along_axis(block, labels[begin:begin + step, None, :], axis=1)
        total += (np.log(np.exp(block).sum(axis=1)) - of_label[:, 0]).sum()
    expected = {"loss": np.float64(total / rows)}
    if not wants_gradient:
        return expected
    sample = np.unique(np.linspace(0, rows - 1, min(rows, SAMPLED_ROWS)).astype(np.int64))
    where = np.stack((sample // inner, sample % inner), axis=1)
    logits = to_double(np.stack([x[n, :, i] for n, i in where]))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(where)), [labels[n, i] for n, i in where]] -= 1
    return {**expected, "where": where, "gradient": p / rows}


def sigmoid_expected(x, targets):
    wide, t = x.astype(np.float64), targets.astype(np.float64)
    where = np.linspace(0, len(x) - 1, SAMPLED_ELEMENTS).astype(np.int64)
    loss = (np.maximum(wide, 0) - wide * t + np.log1p(np.exp(-np.abs(wide)))).mean()
    return {"loss": loss, "where": where, "gradient": (1 / (1 + np.exp(-wide[where])) - t[where]) / len(x)}


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


EXACT = {"exp": np.exp, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "tanh": np.tanh, "softplus": softplus,
         "sigmoid": lambda x: np.exp(-softplus(-x)), "log_sigmoid": lambda x: -softplus(-x)}


def without_signs(x, function):
    return np.abs(x) if function in ("log", "log1p") else x


def error_arguments(random, function, dtype):
    x = normal(random, ERROR_ARGUMENTS, dtype)
    half = ERROR_ARGUMENTS // 2
    x[half:] = np.exp2(random.uniform(-20, 6.4, half)) * random.choice((-1.0, 1.0), half)
    x[x == 0] = 1  # a pole of the logarithm has no error in ULP
    return without_signs(x, function)


def draw(case, folder):
    """Writes the case's arrays to `folder`, one file each."""
    random = np.random.default_rng(1)
    if case.kind == "map":
        x = without_signs(normal(random, case.shape, case.dtype), case.output)
        arguments = error_arguments(random, case.output, case.dtype)
        arrays = {"x": x, "arguments": arguments, "values": EXACT[case.output](arguments.astype(np.longdouble))}
    elif case.kind == "sigmoid":
        x = normal(random, case.shape, case.dtype)
        targets = to_storage(random.integers(0, 2, case.shape).astype(np.float32), case.dtype)
        arrays = {"x": x, "targets": targets, **sigmoid_expected(x, targets)}
    else:
        x = normal(random, case.shape, case.dtype)
        labels = random.integers(0, case.classes, case.shape[:1] + case.shape[2:])
        arrays = {"x": x, "targets": labels, **softmax_expected(x, labels, case.output == "gradient")}
    for name, array in arrays.items():
        np.save(pathlib.Path(folder) / f"{name}.npy", array)


class Inputs:
    """The arrays of a case by name, read when they are asked for."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)

    def __getitem__(self, name):
        return np.load(self.folder / f"{name}.npy")
