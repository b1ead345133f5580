"""The peers: where each one's module and packages are, at which versions, and a virtual environment to hold them."""

import dataclasses
import json
import pathlib
import subprocess
import sys

SOFTMAX, SIGMOID, MAP = "softmax", "sigmoid", "map"
# OpenMP's threads stay on their processors. (Not for peers with pools of their own: these would inherit one processor.)
BOUND = {"OMP_PROC_BIND": "close"}


@dataclasses.dataclass(frozen=True)
class PeerEntry:
    key: str
    title: str
    module: str
    packages: tuple
    kinds: tuple
    environment: dict = dataclasses.field(default_factory=dict)
    many: bool = False  # its forms are libraries of their own, each with a column


BASE = ("numpy==2.4.6", "matplotlib==3.11.2")
PEERS = (
    PeerEntry("torch", "PyTorch", "torch_eager", ("torch==2.13.0",), (SOFTMAX, SIGMOID, MAP), BOUND),
    PeerEntry("torch-compile", "torch.compile", "torch_compile", ("torch==2.13.0",), (SOFTMAX, SIGMOID), BOUND),
    PeerEntry("jax", "JAX", "jax_optax", ("jax==0.10.2", "optax==0.2.8"), (SOFTMAX, SIGMOID, MAP)),
    PeerEntry("tensorflow", "TensorFlow", "tensorflow_losses", ("tensorflow==2.21.0",), (SOFTMAX, SIGMOID, MAP)),
    PeerEntry("scikit-learn", "scikit-learn", "scikit_learn", ("scikit-learn==1.9.1",), (SOFTMAX, SIGMOID), BOUND),
    PeerEntry("onnxruntime", "ONNX Runtime", "onnx_runtime", ("onnxruntime==1.32.0", "onnx==1.23.2"), (SOFTMAX,)),
    PeerEntry("onednn", "oneDNN", "onednn", (), (SOFTMAX,), BOUND),
    PeerEntry("mkl", "MKL", "mkl_functions", ("mkl==2026.2.0",), (MAP,), BOUND),
    PeerEntry("native", "C and C++", "native_functions", (), (MAP,), BOUND, many=True),
    PeerEntry("numpy", "NumPy", "numpy_functions", (), (MAP,)),
)
KEYS = tuple(peer.key for peer in PEERS)

VERSIONS = """
import importlib.metadata, json
print(json.dumps({d.metadata["Name"].lower(): d.version for d in importlib.metadata.distributions()}))
"""


def versions_in(python):
    """Of the packages that an interpreter has; none if there is no such interpreter."""
    if not pathlib.Path(python).exists():
        return {}
    ended = subprocess.run([python, "-c", VERSIONS], capture_output=True, text=True)
    return json.loads(ended.stdout) if ended.returncode == 0 else {}


def missing_from(versions, packages):
    pairs = [package.split("==") for package in packages]
    found = {name: version.split("+")[0] for name, version in versions.items()}  # 2.13.0+cpu is 2.13.0 as well
    return [f"{name}=={version}" for name, version in pairs if found.get(name) != version]


def pip_install(python, packages):
    """The last line of what went wrong, or None."""
    ended = subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True)
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    return None if ended.returncode == 0 else (lines[-1] if lines else f"pip ended with {ended.returncode}")


def python_of(folder):
    return pathlib.Path(folder) / "bin" / "python3"


def install(folder, peers, say):
    """Puts the packages of `peers` into the environment in `folder`, one peer after the other.

    Returns why packages are missing, by peer. Those of a peer that could not be installed leave the others alone."""
    python = python_of(folder)
    if not python.exists():
        say(f"making a virtual environment in {folder}")
        made = subprocess.run([sys.executable, "-m", "venv", str(folder)], capture_output=True, text=True)
        if made.returncode != 0:
            reason = (made.stderr or made.stdout).strip().splitlines() or ["no reason given"]
            return {peer.key: f"no virtual environment: {reason[-1]}" for peer in peers if peer.packages}
    reasons = {}
    versions = versions_in(python)
    for peer, packages in [(None, BASE), *((peer, peer.packages) for peer in peers)]:
        needed = missing_from(versions, packages)
        if not needed:
            continue
        say(f"installing {', '.join(needed)}")
        problem = pip_install(str(python), needed)
        versions = versions_in(python)
        if problem and peer is not None:
            reasons[peer.key] = f"pip install {' '.join(needed)}: {problem}"
    return reasons
