"""The C ABI through ctypes, as much of it as the comparison needs. The structs follow include/xent/xent.h."""

import ctypes
from ctypes import POINTER, byref, c_double, c_int32, c_int64, c_void_p

import numpy as np

DTYPES = {"f32": 1, "f64": 2, "bf16": 3, "f16": 4}
MEAN, SUM, NONE = 0, 1, 2
TORCH, KERAS, ONNX, OPTAX, SKLEARN = 1, 2, 3, 4, 5


def struct(name, fields):
    return type(name, (ctypes.Structure,), {"_fields_": fields})


Logits = struct("Logits", [("data", c_void_p), ("dtype", c_int32), ("reserved", c_int32)] +
                [(n, c_int64) for n in ("outer", "classes", "inner", "outer_stride", "class_stride", "inner_stride")])
Targets = struct("Targets", [("struct_size", c_int32), ("kind", c_int32), ("data", c_void_p), ("dtype", c_int32),
                             ("rest", c_int32)] +
                 [(n, c_int64) for n in ("outer_stride", "class_stride", "inner_stride", "per_row")] +
                 [("weights", c_void_p)])
Options = struct("Options", [(n, c_int32) for n in ("struct_size", "reduction", "empty_mean", "invalid_label")] +
                 [("ignore_index", c_int64), ("upstream", c_double), ("num_threads", c_int32), ("reserved", c_int32)] +
                 [(n, c_void_p) for n in ("runner", "row_state", "lse")] +
                 [("denominator", c_int32), ("masked_row", c_int32), ("denominator_value", c_double)] +
                 [(n, c_void_p) for n in ("class_weight", "row_weight", "row_mask")] +
                 [(n, c_double) for n in ("scale", "softcap", "label_smoothing")] +
                 [("smoothing", c_int32), ("live_classes", c_int32)] +
                 [(n, c_double) for n in ("z_loss", "entropy_weight", "focal_gamma")] +
                 [(n, c_void_p) for n in ("row_upstream", "lse_upstream", "entropy_upstream")])
Outputs = struct("Outputs", [("struct_size", c_int32), ("gradient_dtype", c_int32)] +
                 [(n, c_void_p) for n in ("total", "sum", "denominator", "counted", "ignored", "row_loss", "lse",
                                          "gradient")] +
                 [(n, c_int64) for n in ("gradient_outer_stride", "gradient_class_stride", "gradient_inner_stride")] +
                 [(n, c_void_p) for n in ("row_state", "entropy", "probability", "log_probability", "correct", "argmax",
                                          "z_loss")])


class Library:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        self.library.xent_last_error.restype = ctypes.c_char_p
        self.library.xent_softmax_options_preset.argtypes = [c_int32, c_int32, POINTER(Options)]

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.library.xent_last_error().decode())

    def options(self, preset, dense):
        options = Options()
        self.check(self.library.xent_softmax_options_preset(preset, 2 if dense else 1, byref(options)))
        return options

    def cross_entropy(self, x, dtype, target, options, arrays):
        """x: words or floats [N, C, ...] in memory, without a copy; returns total, row losses and gradient like x."""
        outer, classes = x.shape[:2]
        inner = int(np.prod(x.shape[2:], dtype=np.int64))
        logits = Logits(x.ctypes.data, DTYPES[dtype], 0, outer, classes, inner, classes * inner, inner, 1)
        dense = target.dtype.kind == "f"
        kind = 2 if dense else 1
        types = {"f4": 1, "f8": 2} if dense else {"i8": 22, "i4": 20}
        targets = Targets(ctypes.sizeof(Targets), kind, target.ctypes.data, types[target.dtype.str[1:]], 0)
        row_type = np.float64 if dtype == "f64" else np.float32
        kept = {name: np.ascontiguousarray(values, row_type) for name, values in arrays.items()}
        for name, values in kept.items():
            setattr(options, name, values.ctypes.data)
        total = c_double()
        rows = np.empty(outer * inner, row_type)
        gradient = np.empty_like(x)
        outputs = Outputs(struct_size=ctypes.sizeof(Outputs), total=ctypes.addressof(total), row_loss=rows.ctypes.data,
                          gradient=gradient.ctypes.data)
        self.check(self.library.xent_softmax_cross_entropy(byref(logits), byref(targets), byref(options), byref(outputs)))
        return total.value, rows, gradient
