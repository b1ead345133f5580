"""PyTorch eager beside xent: softmax cross-entropy, loss only and with the gradient, in one interleaved run.

Both are checked against float64 first. Columns: xent through ctypes into a gradient that exists already; PyTorch as
users call it (torch.nn.functional.cross_entropy, then backward, which allocates); PyTorch's own kernels with `out=`
into buffers that exist already. Cold: every call meets a copy of the data that has left the caches.

    python3 bench/peers/torch_compare.py --library build/release/lib/libxent.so
"""

import argparse
import ctypes
import glob
import json
import os
import pathlib
import statistics
import sys
import time


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="path of libxent.so")
    parser.add_argument("--shapes", default="1048576x2,1048576x10,65536x100,8192x1000,512x32000,128x128256,64x256000,"
                        "1x128256", help="ROWSxCLASSES, separated by commas")
    parser.add_argument("--dtypes", default="f32,bf16,f16,f64")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


ARGUMENTS = parse_arguments()
# Before PyTorch brings its OpenMP runtime in: one thread per processor, and no thread that wanders.
os.environ.setdefault("OMP_NUM_THREADS", str(ARGUMENTS.threads))
os.environ.setdefault("OMP_PROC_BIND", "close")

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tests" / "peers"))
import xent as abi  # noqa: E402

DTYPES = {"f32": (torch.float32, 1), "f64": (torch.float64, 2), "bf16": (torch.bfloat16, 3), "f16": (torch.float16, 4)}
I64 = 22


class Xent:
    """The library, called with torch tensors."""

    def __init__(self, path, threads):
        self.calls = abi.Library(os.path.abspath(path))
        self.library = self.calls.library
        self.library.xent_build_info.restype = ctypes.c_char_p
        self.library.xent_isa_chosen.restype = ctypes.c_char_p
        self.options = self.calls.options(abi.TORCH, False)
        self.options.num_threads = threads
        self.total = ctypes.c_double()

    def __call__(self, x, y, code, gradient=None):
        rows, classes = x.shape
        logits = abi.Logits(x.data_ptr(), code, 0, rows, classes, 1, classes, 1, 1)
        targets = abi.Targets(struct_size=ctypes.sizeof(abi.Targets), kind=1, data=y.data_ptr(), dtype=I64)
        outputs = abi.Outputs(struct_size=ctypes.sizeof(abi.Outputs), total=ctypes.addressof(self.total),
                              gradient=None if gradient is None else gradient.data_ptr())
        self.calls.check(self.library.xent_softmax_cross_entropy(ctypes.byref(logits), ctypes.byref(targets),
                                                                 ctypes.byref(self.options), ctypes.byref(outputs)))
        return self.total.value


def torch_loss(x, y):
    with torch.no_grad():
        return F.cross_entropy(x, y)


def torch_gradient(x, y):
    x = x.detach().requires_grad_(True)
    F.cross_entropy(x, y).backward()
    return x.grad


class TorchOut:
    """PyTorch's own kernels behind cross_entropy and its backward, all into buffers that exist already."""

    def __init__(self, x):
        self.log_softmax = torch.empty_like(x)
        self.upstream = torch.ones((), dtype=x.dtype)
        self.nll_gradient = torch.empty_like(x)

    def __call__(self, x, y, gradient):
        aten = torch.ops.aten
        with torch.no_grad():
            aten._log_softmax.out(x, 1, False, out=self.log_softmax)
            _, weight = aten.nll_loss_forward(self.log_softmax, y, None, 1, -100)
            self.nll_gradient.zero_()
            aten.nll_loss_backward.grad_input(self.upstream, self.log_softmax, y, None, 1, -100, weight,
                                              grad_input=self.nll_gradient)
            aten._log_softmax_backward_data.out(self.nll_gradient, self.log_softmax, 1, x.dtype, out=gradient)
        return gradient


def check(xent, x, y, code, gradient):
    """Wrong answers with their errors. The bounds are wide: they only keep wrong answers from being timed.

    Losses: relative error. Gradients: largest error of an element, relative to the largest possible one (1 / rows)."""
    exact = x.double().requires_grad_(True)
    loss = F.cross_entropy(exact, y)
    loss.backward()
    bound = {torch.float32: 1e-4, torch.float64: 1e-12, torch.bfloat16: 2e-2, torch.float16: 4e-3}[x.dtype]
    subnormal = 2e-7 * len(y) if x.dtype == torch.float16 else 0

    def loss_error(got):
        return abs(got - loss.item()) / loss.item()

    def gradient_error(got):
        return (got.double() - exact.grad).abs().max().item() * len(y)

    errors = {"xent loss": loss_error(xent(x, y, code, gradient)), "xent gradient": gradient_error(gradient),
              "torch loss": loss_error(torch_loss(x, y).item()),
              "torch gradient": gradient_error(torch_gradient(x, y)),
              "torch out=": gradient_error(TorchOut(x)(x, y, gradient))}
    return {name: "%.1e" % error for name, error in errors.items()
            if not error <= bound + ("loss" not in name) * subnormal}


def last_level_cache_bytes():
    sizes = {}
    for folder in glob.glob("/sys/devices/system/cpu/cpu*/cache/index*"):
        try:
            level, shared, size = (open(os.path.join(folder, name)).read().strip()
                                   for name in ("level", "shared_cpu_list", "size"))
        except OSError:
            continue
        sizes.setdefault(int(level), {})[shared] = int(size.rstrip("K")) << 10
    return sum(sizes[max(sizes)].values()) if sizes else 32 << 20


class Case:
    """One shape and dtype: a ring of copies, and the functions that take turns over it."""

    def __init__(self, xent, rows, classes, dtype):
        self.torch_dtype, self.code = DTYPES[dtype]
        generator = torch.Generator().manual_seed(1)
        x = (4 * torch.randn(rows, classes, generator=generator)).to(self.torch_dtype)
        self.y = torch.randint(0, classes, (rows,), generator=generator)
        slots = max(3, -(-4 * last_level_cache_bytes() // (2 * x.numel() * x.element_size()))) | 1
        slots = min(slots, 4097)
        self.ring = [(x.clone(), torch.zeros_like(x)) for _ in range(slots)]
        self.next = 0
        self.wrong = check(xent, x, self.y, self.code, self.ring[0][1])
        if any(name.startswith("xent") for name in self.wrong):
            raise RuntimeError("%d x %d %s: %s" % (rows, classes, dtype, self.wrong))
        out = TorchOut(x)
        parties = {"xent loss": lambda x, g: xent(x, self.y, self.code),
                   "torch loss": lambda x, g: torch_loss(x, self.y),
                   "xent gradient": lambda x, g: xent(x, self.y, self.code, g),
                   "torch gradient": lambda x, g: torch_gradient(x, self.y),
                   "torch out=": lambda x, g: out(x, self.y, g)}
        self.parties = {name: party for name, party in parties.items() if name not in self.wrong}

    def sample(self, name):
        x, gradient = self.ring[self.next]
        self.next = (self.next + 1) % len(self.ring)
        start = time.perf_counter()
        result = self.parties[name](x, gradient)
        seconds = time.perf_counter() - start
        del result  # the peer's gradient is freed outside the timed region
        return seconds

    def measure(self, rounds):
        times = {name: [] for name in self.parties}
        for round_number in range(-2, rounds):
            for name in self.parties:
                seconds = self.sample(name)
                if round_number >= 0:
                    times[name].append(seconds)
        return times


def ratio(times, peer, ours):
    """Quartiles of peer / ours, round by round: how many times faster we are. None for a peer that is wrong."""
    if peer not in times:
        return None
    low, middle, high = statistics.quantiles([p / o for p, o in zip(times[peer], times[ours])], n=4,
                                              method="inclusive")
    return {"median": middle, "low": low, "high": high}


def summarize(rows, classes, dtype, times, wrong):
    return {"rows": rows, "classes": classes, "dtype": dtype, "wrong": wrong,
            "milliseconds": {name: 1e3 * statistics.median(values) for name, values in times.items()},
            "torch loss / xent": ratio(times, "torch loss", "xent loss"),
            "torch gradient / xent": ratio(times, "torch gradient", "xent gradient"),
            "torch out= / xent": ratio(times, "torch out=", "xent gradient")}


COLUMNS = ("xent loss", "torch loss", "xent gradient", "torch gradient", "torch out=")
RATIOS = ("torch loss / xent", "torch gradient / xent", "torch out= / xent")


def print_row(result):
    cells = ["%d x %d" % (result["rows"], result["classes"]), result["dtype"]]
    for name in COLUMNS:
        cells.append("%.4g" % result["milliseconds"][name] if name in result["milliseconds"] else "-")
    for name in RATIOS:
        cells.append("{median:.1f} [{low:.1f} {high:.1f}]".format(**result[name]) if result[name] else "-")
    cells.append(", ".join("%s by %s" % wrong for wrong in result["wrong"].items()) or "none")
    print("| %s |" % " | ".join(cells), flush=True)


def openmp_runtimes():
    with open("/proc/self/maps") as maps:
        return {line.split()[-1] for line in maps if "omp" in os.path.basename(line.split()[-1])}


def main():
    torch.set_num_threads(ARGUMENTS.threads)
    xent = Xent(ARGUMENTS.library, ARGUMENTS.threads)
    if len(openmp_runtimes()) > 1:
        print("warning: two OpenMP runtimes, which may spin against each other; set OMP_WAIT_POLICY=passive",
              file=sys.stderr)
    if not ARGUMENTS.json:
        print("xent: %s; uses %s" % (xent.library.xent_build_info().decode(), xent.library.xent_isa_chosen().decode()))
        print("torch: %s, CPU capability %s; %d threads; %d rounds; times in ms, cold, medians; ratios: median "
              "[quartiles] of torch / xent per round\n" % (torch.__version__, torch.backends.cpu.get_cpu_capability(),
                                                           ARGUMENTS.threads, ARGUMENTS.rounds))
        print("| rows x classes | dtype | %s | wrong, not timed |" % " | ".join(COLUMNS + RATIOS))
        print("|" + "---|" * (3 + len(COLUMNS + RATIOS)))
    results = []
    for shape in ARGUMENTS.shapes.split(","):
        rows, classes = (int(part) for part in shape.split("x"))
        for dtype in ARGUMENTS.dtypes.split(","):
            case = Case(xent, rows, classes, dtype)
            results.append(summarize(rows, classes, dtype, case.measure(ARGUMENTS.rounds), case.wrong))
            if not ARGUMENTS.json:
                print_row(results[-1])
    if ARGUMENTS.json:
        print(json.dumps({"torch": torch.__version__, "xent": xent.library.xent_build_info().decode(),
                          "threads": ARGUMENTS.threads, "rounds": ARGUMENTS.rounds, "results": results}, indent=2))


if __name__ == "__main__":
    main()
