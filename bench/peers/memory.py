"""Keeps a process's memory at hand: hosts of virtual machines take away pages that were not touched for seconds.

Between its turns a party waits for the others. Without this, most of a cold sample would be the host's page faults.
"""

import ctypes

import numpy as np

PAGE = 4096
LEAST_BYTES = 1 << 20


def large_mappings():
    """(address, bytes) of writable memory without a file that is in use, by the system's own list."""
    found, current = [], None
    try:
        # Line by line: the whole text would be large memory itself, and gone when it is touched.
        with open("/proc/self/smaps", encoding="ascii", errors="replace") as lines:
            for line in lines:
                words = line.split()
                if "-" in words[0] and not words[0].endswith(":"):
                    begin, end = (int(word, 16) for word in words[0].split("-"))
                    anonymous = len(words) == 5 or words[5] == "[heap]"
                    current = (begin, end - begin) if anonymous and words[1].startswith("rw") else None
                elif words[0] == "Rss:" and current is not None and current[1] >= LEAST_BYTES:
                    if int(words[1]) * 1024 >= current[1] // 2:
                        found.append(current)
    except OSError:
        pass
    return found


def touch_pages():
    """Reads a byte of each page that is in use: no more than a line of it comes into the cache."""
    for address, size in large_mappings():
        np.frombuffer((ctypes.c_ubyte * size).from_address(address), np.uint8)[::PAGE].max()
