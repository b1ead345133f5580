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


BinaryOptions = struct("BinaryOptions", [(n, c_int32) for n in ("struct_size", "reduction", "empty_mean", "invalid_label")] +
                       [("ignore_index", c_int64), ("ignore_target", c_double), ("upstream", c_double),
                        ("num_threads", c_int32), ("reserved", c_int32), ("runner", c_void_p), ("denominator", c_int32),
                        ("log_rule", c_int32)] +
                       [(n, c_double) for n in ("denominator_value", "epsilon", "pos_weight")] +
                       [(n, c_void_p) for n in ("class_pos_weight", "element_pos_weight", "class_weight", "row_weight",
                                                "element_weight", "element_upstream")] +
                       [(n, c_double) for n in ("label_smoothing", "focal_gamma", "focal_alpha")])
BinaryOutputs = struct("BinaryOutputs", [("struct_size", c_int32), ("gradient_dtype", c_int32)] +
                       [(n, c_void_p) for n in ("total", "sum", "denominator", "counted", "ignored", "outside", "loss",
                                                "gradient")] +
                       [(n, c_int64) for n in ("gradient_outer_stride", "gradient_class_stride",
                                               "gradient_inner_stride")])
InformationOptions = struct("InformationOptions", [(n, c_int32) for n in ("struct_size", "reduction", "p_given",
                                                                          "q_given")] +
                            [(n, c_double) for n in ("base", "scale", "beta", "upstream")] +
                            [("row_upstream", c_void_p), ("num_threads", c_int32), ("reserved", c_int32),
                             ("runner", c_void_p)])
InformationOutputs = struct("InformationOutputs", [("struct_size", c_int32), ("reserved", c_int32)] +
                            [(n, c_void_p) for n in ("total", "sum", "rows", "p_gradient", "q_gradient")])
EXACT, CLAMP, EPSILON = 0, 1, 2
ENTROPY, CROSS_ENTROPY, KL, JENSEN_SHANNON = 1, 2, 3, 4
PROBABILITIES, LOGS, LOGITS = 1, 2, 3


def matrix(x):
    """A NumPy matrix of f4 or f8 as the library takes it."""
    return Logits(x.ctypes.data, {"f4": 1, "f8": 2}[x.dtype.str[1:]], 0, x.shape[0], x.shape[1], 1, x.shape[1], 1, 1)


def binary_call(library, x, t, probabilities=False, gradient=True, arrays=None, preset=TORCH, **settings):
    """A function that makes the call, and its total, losses and gradient. x, t: matrices of one type."""
    options = BinaryOptions()
    library.check(library.library.xent_binary_options_preset(preset, int(probabilities), matrix(x).dtype, byref(options)))
    for name, value in settings.items():
        setattr(options, name, value)
    kept = {name: np.ascontiguousarray(value, x.dtype) for name, value in (arrays or {}).items()}
    for name, value in kept.items():
        setattr(options, name, value.ctypes.data)
    total, loss, slopes = c_double(), np.empty_like(x), np.empty_like(x)
    targets = Targets(ctypes.sizeof(Targets), 2, t.ctypes.data, matrix(t).dtype, 0)
    outputs = BinaryOutputs(struct_size=ctypes.sizeof(BinaryOutputs), total=ctypes.addressof(total),
                            loss=loss.ctypes.data if arrays is not None else None,
                            gradient=slopes.ctypes.data if gradient else None)
    function = library.library.xent_binary_cross_entropy if probabilities else library.library.xent_sigmoid_cross_entropy
    structs = [matrix(x), targets, options, outputs]

    def call():
        library.check(function(*map(byref, structs)))
        return total.value

    call.kept = (kept, structs, x, t, loss, slopes)
    return call, loss, slopes


def information_call(library, measure, p, q, given, gradients=True, **settings):
    """The same of an information measure of rows: the function, its rows, the gradients of p and q."""
    options = InformationOptions(struct_size=ctypes.sizeof(InformationOptions), reduction=NONE, p_given=given[0],
                                 q_given=given[-1], scale=1, beta=0.5, upstream=1)
    for name, value in settings.items():
        setattr(options, name, value)
    total, rows = c_double(), np.empty(p.shape[0], p.dtype)
    of_p, of_q = np.empty_like(p), None if q is None else np.empty_like(q)
    outputs = InformationOutputs(struct_size=ctypes.sizeof(InformationOutputs), total=ctypes.addressof(total),
                                 rows=rows.ctypes.data, p_gradient=of_p.ctypes.data if gradients else None,
                                 q_gradient=of_q.ctypes.data if gradients and q is not None else None)
    structs = [matrix(p), None if q is None else matrix(q), options, outputs]

    def call():
        library.check(library.library.xent_information(measure, *(None if s is None else byref(s) for s in structs)))
        return total.value

    call.kept = (structs, p, q, rows, of_p, of_q)
    return call, rows, of_p, of_q
