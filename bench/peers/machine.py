"""The machine in a sentence, and what limits the copies of the data: caches and free memory."""

import glob
import os
import platform


def read_text(path):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def caches():
    """Bytes of each level's data caches together, by level."""
    found = {}
    for folder in glob.glob("/sys/devices/system/cpu/cpu*/cache/index*"):
        level, kind, shared, size = (read_text(os.path.join(folder, name))
                                     for name in ("level", "type", "shared_cpu_list", "size"))
        if level and size and kind != "Instruction":
            found[int(level), shared] = int(size.rstrip("K")) << 10
    levels = {}
    for (level, _), size in found.items():
        levels[level] = levels.get(level, 0) + size
    return levels


def last_level_cache_bytes():
    levels = caches()
    return levels[max(levels)] if levels else 32 << 20


def available_bytes():
    for line in read_text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 8 << 30


def memory_text(size):
    return f"{size / (1 << 20):.3g} MB" if size >= 1 << 20 else f"{size >> 10} KB"


def describe():
    names = [line.partition(":")[2].strip() for line in read_text("/proc/cpuinfo").splitlines()
             if line.startswith("model name")]
    processors = len(os.sched_getaffinity(0))
    levels = ", ".join(f"L{level} {memory_text(size)}" for level, size in sorted(caches().items()))
    name = names[0] if names else platform.machine()
    return (f"{name}, {processors} processor{'s' if processors > 1 else ''} for this run; "
            f"caches, all together: {levels or 'unknown'}; {platform.system()} {platform.release().split('-')[0]}")
