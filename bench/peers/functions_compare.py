"""Other libraries' array functions beside xent_map: exp, log, log1p, expm1, sigmoid, log_sigmoid, softplus, tanh.

Peers: glibc (a loop over its scalar functions, and the vector functions of libmvec), SLEEF, Highway's contrib/math,
PyTorch (out= forms), and MKL's VML (VML_HA). Each family runs in a process of its own, beside xent and the copy roof,
which take turns with it round by round: 16M elements out of place (from memory, rotating buffers, all threads) and 4096
elements again and again (in cache, one thread). Ratios are taken within a round. Beside each time stands the peer's
largest error over the same million arguments, against long double. A peer that is not there is named and skipped.

    python3 -m venv venv && venv/bin/pip install numpy torch==2.13.0 mkl && sudo apt-get install libsleef-dev libhwy-dev
    venv/bin/python bench/peers/functions_compare.py --library build/release/lib/libxent.so
"""

import argparse
import ctypes
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile

FUNCTIONS = ("exp", "log", "log1p", "expm1", "sigmoid", "log_sigmoid", "softplus", "tanh")
DTYPES = {"f32": 1, "f64": 2}
FAMILIES = ("native", "torch", "mkl")
IN_CACHE = 4096
ERROR_COUNT = 1000000


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="path of libxent.so")
    parser.add_argument("--functions", default=",".join(FUNCTIONS))
    parser.add_argument("--dtypes", default="f32,f64")
    parser.add_argument("--families", default=",".join(FAMILIES), help="processes: native, torch, mkl")
    parser.add_argument("--elements", type=int, default=1 << 24, help="of large arrays, a multiple of 16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="for large arrays")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument("--helper", help=argparse.SUPPRESS)  # set for the processes of families
    parser.add_argument("--family", choices=FAMILIES, help=argparse.SUPPRESS)
    return parser.parse_args()


def build_helper(folder):
    """functions_peers.cc as a shared library, with as many peers as this machine has; those that it lacks."""
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "functions_peers.cc")
    target = os.path.join(folder, "libpeers.so")
    command = [os.environ.get("CXX", "g++"), "-std=c++17", "-O3", "-march=native", "-Wno-ignored-attributes",
               "-fopenmp", "-shared", "-fPIC", source, "-o", target]
    missing = []
    flags = []
    for name, define, header, library in (("SLEEF", "-DXENT_PEERS_SLEEF", "sleef.h", ["-lsleef"]),
                                          ("Highway contrib", "-DXENT_PEERS_HWY", "hwy/contrib/math/math-inl.h", [])):
        probe = subprocess.run(command[:2] + ["-E", "-x", "c++", "-", "-include", header], input="",
                               capture_output=True, text=True)
        if probe.returncode == 0:
            flags += [define] + library
        else:
            missing.append(name)
    subprocess.run(command + flags + ["-lmvec", "-lm"], check=True)
    return target, missing


# Below, in the process of one family: NumPy and the family's library are imported there only.

class Options(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_int32), ("num_threads", ctypes.c_int32), ("runner", ctypes.c_void_p)]


class Xent:
    """The library; calls are timed in the helper."""

    def __init__(self, path, helper, threads):
        self.library = ctypes.CDLL(os.path.abspath(path))
        self.library.xent_last_error.restype = self.library.xent_build_info.restype = ctypes.c_char_p
        self.library.xent_isa_chosen.restype = ctypes.c_char_p
        self.map = ctypes.cast(self.library.xent_map, ctypes.c_void_p)
        self.helper = helper
        self.options = {n: Options(ctypes.sizeof(Options), n, None) for n in (1, threads)}

    def caller(self, function, dtype):
        def call(x, y, repeats, threads):
            return self.helper.time_xent(self.map, FUNCTIONS.index(function) + 1, DTYPES[dtype], pointer(x), pointer(y),
                                         len(x), ctypes.byref(self.options[threads]), repeats)
        return call


def pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


def load_helper(path):
    helper = ctypes.CDLL(path)
    voids, size = ctypes.c_void_p, ctypes.c_int64
    helper.peer_name.restype = ctypes.c_char_p
    for name, arguments in (("time_peer", [ctypes.c_int] * 3 + [voids, voids, size, size]),
                            ("time_xent", [voids, ctypes.c_int, ctypes.c_int, voids, voids, size, voids, size]),
                            ("time_vml", [voids, voids, voids, size, size, size]),
                            ("time_copy", [voids, voids, size, size]),
                            ("largest_error", [ctypes.c_int, ctypes.c_int, voids, voids, size])):
        getattr(helper, name).argtypes = arguments
        getattr(helper, name).restype = ctypes.c_double
    return helper


def native_peers(helper, function, dtype):
    """Peers in the helper, as callers: x, y, repeats, threads -> seconds of one call."""
    def caller(peer):
        return lambda x, y, repeats, threads: helper.time_peer(
            peer, FUNCTIONS.index(function) + 1, DTYPES[dtype], pointer(x), pointer(y), len(x), repeats)
    return {helper.peer_name(peer).decode(): caller(peer) for peer in range(helper.peer_count())
            if helper.peer_has(peer, FUNCTIONS.index(function) + 1, DTYPES[dtype])}


def torch_peers(function):
    import time
    import torch
    aten = torch.ops.aten
    forms = {"softplus": lambda x, y: aten.softplus.out(x, 1, 20, out=y),
             "log_sigmoid": lambda x, y: aten.log_sigmoid.out(x, out=y)}
    form = forms.get(function) or (lambda x, y: getattr(torch, function)(x, out=y))

    def call(x, y, repeats, threads):
        torch.set_num_threads(threads)
        source, target = torch.from_numpy(x), torch.from_numpy(y)
        start = time.perf_counter()
        for _ in range(repeats):
            form(source, target)
        return (time.perf_counter() - start) / repeats
    return {"PyTorch " + torch.__version__: call}


def mkl_library():
    paths = sorted(glob.glob(os.path.join(sys.prefix, "lib", "libmkl_rt.so*")))
    if not paths:
        raise ImportError("no libmkl_rt.so in %s/lib (pip install mkl)" % sys.prefix)
    return ctypes.CDLL(paths[-1], mode=ctypes.RTLD_GLOBAL)


def mkl_peers(helper, function, dtype):
    names = {"exp": "Exp", "log": "Ln", "log1p": "Log1p", "expm1": "Expm1", "tanh": "Tanh"}
    if function not in names:
        return {}
    vml_ha = 2
    entry = ctypes.cast(getattr(mkl_library(), "vm" + {"f32": "s", "f64": "d"}[dtype] + names[function]),
                        ctypes.c_void_p)
    return {"MKL VML_HA": lambda x, y, repeats, threads: helper.time_vml(entry, pointer(x), pointer(y), len(x), vml_ha,
                                                                       repeats)}


def aligned(numpy, count, dtype):
    """Zeros, 64-byte aligned."""
    size = numpy.dtype(dtype).itemsize
    memory = numpy.zeros(count * size + 64, dtype=numpy.uint8)
    start = -memory.ctypes.data % 64
    return memory[start:start + count * size].view(dtype)


def ordinary_arguments(numpy, count, function, dtype):
    """4 * N(0, 1), without the sign for logarithms."""
    x = aligned(numpy, count, dtype)
    x[:] = 4 * numpy.random.default_rng(1).standard_normal(count)
    return numpy.abs(x, out=x) if function in ("log", "log1p") else x


def error_arguments(numpy, function, dtype):
    """Half as they are timed, half +-2^u, u uniform in (-20, 6.4): results of all sizes, none of them subnormal."""
    x = ordinary_arguments(numpy, ERROR_COUNT, function, dtype)
    random = numpy.random.default_rng(2)
    half = ERROR_COUNT // 2
    x[half:] = numpy.exp2(random.uniform(-20, 6.4, half)) * random.choice((-1.0, 1.0), half)
    return numpy.abs(x, out=x) if function in ("log", "log1p") else x


def measure(parties, rings, rounds, repeats, threads):
    """Seconds per party and round; each party's turn meets the next pair of buffers."""
    times = {name: [] for name in parties}
    turn = 0
    for round_number in range(-2, rounds):
        for name, call in parties.items():
            x, y = rings[turn % len(rings)]
            turn += 1
            seconds = call(x, y, repeats, threads)
            if round_number >= 0:
                times[name].append(seconds)
    return times


def quartiles(over, under):
    low, middle, high = statistics.quantiles([a / b for a, b in zip(over, under)], n=4, method="inclusive")
    return {"median": middle, "low": low, "high": high}


def measure_case(family, helper, xent, function, dtype, arguments):
    import numpy
    kind = numpy.float32 if dtype == "f32" else numpy.float64
    peers = {"native": lambda: native_peers(helper, function, dtype), "torch": lambda: torch_peers(function),
             "mkl": lambda: mkl_peers(helper, function, dtype)}[family]()
    if not peers:
        return []
    parties = {"xent": xent.caller(function, dtype), **peers}

    def copy_roof(x, y, repeats, threads):
        return helper.time_copy(pointer(x), pointer(y), x.nbytes, repeats)

    x = error_arguments(numpy, function, kind)
    y = aligned(numpy, len(x), kind)
    errors = {}
    for name, call in parties.items():
        call(x, y, 1, arguments.threads)
        errors[name] = helper.largest_error(FUNCTIONS.index(function) + 1, DTYPES[dtype], pointer(x), pointer(y),
                                            len(x))
    large = ordinary_arguments(numpy, arguments.elements, function, kind)
    rings = []
    for _ in range(3):
        copy, results = aligned(numpy, len(large), kind), aligned(numpy, len(large), kind)
        copy[:] = large
        results[:] = 1
        rings.append((copy, results))
    cold = measure({"copy": copy_roof, **parties}, rings, arguments.rounds, 1, arguments.threads)
    small = (large[:IN_CACHE], aligned(numpy, IN_CACHE, kind))
    warm = measure(parties, [small], arguments.rounds, 50, 1)
    return [{"family": family, "function": function, "dtype": dtype, "peer": name, "largest_error_ulp": errors[name],
             "cold_ms": 1e3 * statistics.median(cold[name]), "roof_ms": 1e3 * statistics.median(cold["copy"]),
             "of_roof": quartiles(cold["copy"], cold[name]), "cold_over_xent": quartiles(cold[name], cold["xent"]),
             "warm_ns_per_element": 1e9 * statistics.median(warm[name]) / IN_CACHE,
             "warm_over_xent": quartiles(warm[name], warm["xent"])} for name in parties]


def run_family(arguments):
    """Prints one JSON object: results, or why there are none."""
    try:
        if arguments.family == "torch":
            import torch  # noqa: F401 before anything else that brings an OpenMP run-time library
        helper = load_helper(arguments.helper)
        if arguments.family == "mkl":
            mkl_library()
    except (ImportError, OSError) as error:
        print(json.dumps({"skipped": "%s: %s" % (arguments.family, error), "results": []}))
        return
    xent = Xent(arguments.library, helper, arguments.threads)
    results = []
    for function in arguments.functions.split(","):
        for dtype in arguments.dtypes.split(","):
            results += measure_case(arguments.family, helper, xent, function, dtype, arguments)
            print(".", end="", file=sys.stderr, flush=True)
    print(json.dumps({"xent": xent.library.xent_build_info().decode(), "isa": xent.library.xent_isa_chosen().decode(),
                      "results": results}))


def start_family(family, helper, arguments):
    command = [sys.executable, os.path.abspath(__file__), "--library", arguments.library, "--functions",
               arguments.functions, "--dtypes", arguments.dtypes, "--elements", str(arguments.elements), "--threads",
               str(arguments.threads), "--rounds", str(arguments.rounds), "--helper", helper, "--family", family]
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments.threads), OMP_PROC_BIND="close",
                       MKL_THREADING_LAYER="GNU", MKL_NUM_THREADS=str(arguments.threads))
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if ended.returncode != 0:
        return {"skipped": "%s: its process ended with %d" % (family, ended.returncode), "results": []}
    return json.loads(ended.stdout)


def spread(ratio, digits=2):
    return "{0:.{d}f} [{1:.{d}f} {2:.{d}f}]".format(ratio["median"], ratio["low"], ratio["high"], d=digits)


def print_markdown(run):
    print("xent: %s; uses %s; %d threads; %d rounds; medians, [quartiles] of per-round ratios\n"
          % (run["xent"], run["isa"], run["threads"], run["rounds"]))
    print("| function | dtype | library | %d elements, ms | of copy roof | time / xent | %d elements, ns each | "
          "time / xent | largest error, ULP |" % (run["elements"], IN_CACHE))
    print("|" + " --- |" * 9)
    order = {name: i for i, name in enumerate(FUNCTIONS)}
    for r in sorted(run["results"], key=lambda r: (order[r["function"]], r["dtype"])):
        name = r["peer"] if r["peer"] != "xent" else "xent (beside %s)" % r["family"]
        print("| %s | %s | %s | %.3g | %s | %s | %.3g | %s | %.3g |" % (
            r["function"], r["dtype"], name, r["cold_ms"], spread(r["of_roof"]), spread(r["cold_over_xent"]),
            r["warm_ns_per_element"], spread(r["warm_over_xent"]), r["largest_error_ulp"]))
    for reason in run["skipped"]:
        print("\nskipped: " + reason)


def main():
    arguments = parse_arguments()
    if arguments.family:
        return run_family(arguments)
    run = {"threads": arguments.threads, "rounds": arguments.rounds, "elements": arguments.elements, "results": [],
           "xent": "", "isa": "", "skipped": []}
    with tempfile.TemporaryDirectory() as folder:
        helper, missing = build_helper(folder)
        run["skipped"] += ["%s is not installed" % name for name in missing]
        for family in arguments.families.split(","):
            part = start_family(family, helper, arguments)
            run["results"] += part["results"]
            run["skipped"] += [part["skipped"]] if "skipped" in part else []
            run.update({key: part[key] for key in ("xent", "isa") if key in part})
    print(file=sys.stderr)
    if arguments.json:
        print(json.dumps(run, indent=2))
    else:
        print_markdown(run)
    return None


if __name__ == "__main__":
    sys.exit(main())
