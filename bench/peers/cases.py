"""What is measured: one table. A case's name is REGIME/OUTPUT/TYPE/SHAPE, as in vocabulary/gradient/f32/512x32000."""

import dataclasses
import fnmatch
import math

ITEM_BYTES = {"f32": 4, "f64": 8, "bf16": 2, "f16": 2}
LABEL_BYTES = 8
MOST_ELEMENTS = 1 << 24
FUNCTIONS = ("exp", "log", "log1p", "expm1", "sigmoid", "tanh", "softplus", "log_sigmoid")

# Regime: its title in reports. The kind of call follows from it: sigmoid, map (functions of arrays), else softmax.
REGIMES = {"few": "few classes", "hundreds": "100 to 256 classes", "thousands": "1000 to 4096 classes",
           "vocabulary": "vocabularies", "types": "storage types bf16, f16, f64", "images": "images",
           "small": "small calls, in cache", "sigmoid": "sigmoid cross-entropy", "functions": "functions of arrays",
           "cached": "functions of 4096 elements, in cache", "scaling": "growing with the threads, in cache"}
WARM = ("small", "cached", "scaling")


@dataclasses.dataclass(frozen=True)
class Case:
    regime: str
    output: str  # loss, gradient (with the loss), or the function of a map
    dtype: str
    shape: tuple  # rows, classes; images, classes, height, width; or elements

    @property
    def name(self):
        return "/".join((self.regime, self.output, self.dtype, self.size))

    @property
    def size(self):
        return "x".join(map(str, self.shape))

    @property
    def kind(self):
        if self.regime == "sigmoid":
            return "sigmoid"
        return "map" if self.output in FUNCTIONS else "softmax"

    @property
    def warm(self):
        """In cache, the same buffer again and again. Otherwise copies that have left the caches take turns."""
        return self.regime in WARM

    @property
    def classes(self):
        return self.shape[1] if self.kind == "softmax" else 1

    @property
    def elements(self):
        return math.prod(self.shape)

    @property
    def rows(self):
        return self.elements // self.classes

    @property
    def logit_bytes(self):
        return self.elements * ITEM_BYTES[self.dtype]

    @property
    def input_bytes(self):
        """What a call cannot avoid to read: logits and labels, or logits and targets, or arguments."""
        return self.logit_bytes + {"softmax": self.rows * LABEL_BYTES, "sigmoid": self.logit_bytes, "map": 0}[self.kind]

    @property
    def floor_bytes(self):
        return self.input_bytes + (0 if self.output == "loss" else self.logit_bytes)

    @property
    def group(self):
        """The regime with its output: what pictures and regressions are summed up by."""
        return self.regime if self.kind == "map" else f"{self.regime}, {self.output}"


def rows_for(classes):
    """The largest power of two that keeps a buffer within 16M elements, a million at most."""
    return min(1 << 20, 1 << (MOST_ELEMENTS // classes).bit_length() - 1)


def softmax(regime, dtype, *shapes):
    return [Case(regime, output, dtype, shape) for shape in shapes for output in ("loss", "gradient")]


def by_classes(regime, *classes):
    return softmax(regime, "f32", *((rows_for(k), k) for k in classes))


CASES = [
    *by_classes("few", 2, 3, 4, 5, 8, 10, 16, 21, 32),
    *by_classes("hundreds", 100, 256),
    *by_classes("thousands", 1000, 4096),
    *by_classes("vocabulary", 32000, 50257, 128256, 151936, 256000),
    *(case for dtype in ("bf16", "f16", "f64")
      for case in softmax("types", dtype, (1 << 20, 10), (8192, 1000), (512, 32000))),
    *softmax("images", "f32", (8, 21, 512, 512), (32, 81, 8732), (1, 150, 512, 512)),
    *softmax("small", "f32", (1, 10), (1, 1000), (1, 128256), (4, 151936)),
    *(Case("sigmoid", output, "f32", (MOST_ELEMENTS,)) for output in ("loss", "gradient")),
    *(Case("functions", function, "f32", (MOST_ELEMENTS,)) for function in FUNCTIONS),
    *(Case("functions", function, "f64", (MOST_ELEMENTS,)) for function in ("exp", "log")),
    *(Case("cached", function, dtype, (4096,)) for dtype in ("f32", "f64") for function in FUNCTIONS),
    *softmax("scaling", "f32", (1 << 20, 10), (16384, 1000), (512, 32000)),
    Case("scaling", "exp", "f32", (MOST_ELEMENTS,)),
]

QUICK = ("few/*/f32/1048576x10", "vocabulary/*/f32/512x32000", "types/gradient/bf16/512x32000", "small/loss/f32/1x1000",
         "sigmoid/gradient/*", "functions/exp/f32/*", "scaling/gradient/f32/1048576x10")


def choose(patterns):
    """Cases whose name is, or matches, one of the patterns, in the table's order; the patterns that match none."""
    chosen = [case for case in CASES if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns)]
    strangers = [pattern for pattern in patterns
                 if not any(fnmatch.fnmatchcase(case.name, pattern) for case in CASES)]
    return chosen, strangers
