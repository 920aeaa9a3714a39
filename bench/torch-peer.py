"""Times PyTorch on one core for the benchmark cases named on the command line.

Prints {"version", "blas": the library that does its matrix products, "seconds": {name: seconds}} as JSON. Exits with status 3 where torch cannot be imported. Convolutions run in PyTorch's channels-last memory format, its faster one here.
"""

import json
import os
import re
import sys
import time

try:
    import torch
except ImportError:
    sys.exit(3)

torch.set_num_threads(1)
BATCH = 64
MEASURE = 0.5


def fastest(run):
    """The shortest time of `run` in seconds, after a warm-up."""
    for _ in range(3):
        run()
    best = float("inf")
    start = time.perf_counter()
    while time.perf_counter() - start < MEASURE:
        t = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - t)
    return best


def case(name):
    """What is timed for a case, or None for one unknown here."""
    dtype = torch.float64 if name.endswith("float64") else torch.float32
    m = re.match(r"matmul (\d+)³( transposed)?", name)
    if m:
        n = int(m[1])
        a, b = torch.randn(n, n, dtype=dtype), torch.randn(n, n, dtype=dtype)
        y = torch.empty(n, n, dtype=dtype)
        if m[2]:
            a, b = a.t(), b.t()
        return lambda: torch.mm(a, b, out=y)
    m = re.match(r"conv (\d+)→(\d+) @(\d+)² (\w+)", name)
    if m:
        c, o, side = int(m[1]), int(m[2]), int(m[3])
        last = {"dtype": dtype, "memory_format": torch.channels_last}
        x = torch.randn(BATCH, c, side, side).to(**last)
        w = torch.randn(o, c, 3, 3).to(**last)
        g = torch.randn(BATCH, o, side, side).to(**last)
        if m[4] == "forward":
            return lambda: torch.conv2d(x, w, padding=1)
        mask = [m[4] == "gradX", m[4] == "gradW", False]
        return lambda: torch.ops.aten.convolution_backward(g, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)
    return None


def blas():
    """The file name of the BLAS library in use: whether PyTorch's matrix products are a yardstick depends on it."""
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    try:
        with open("/proc/self/maps", encoding="utf8") as maps:
            files = {line.split()[-1] for line in maps if re.search(r"/[^/]*(blas|mkl)[^/]*\.so", line)}
    except OSError:
        files = set()
    return ", ".join(sorted(os.path.basename(f) for f in files)) or "unknown"


times = {}
with torch.no_grad():
    for name in sys.argv[1:]:
        run = case(name)
        if run is not None:
            times[name] = fastest(run)
json.dump({"version": torch.__version__, "blas": blas(), "seconds": times}, sys.stdout)
