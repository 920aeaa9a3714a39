"""Times PyTorch for the benchmark: reads one request per line from standard input and answers each with one line of JSON.

A request is {"op", …, "threads", "seconds"}. The answer is {"seconds": shortest time, "median"}, or {"seconds": null} for an unknown op.
With "check" it has "values" too, samples of the result for the operands of operands.mjs. The first line printed is {"version", "blas": the library used for matrix products}. Exits with status 3 if torch cannot be
imported. For images both memory formats are timed, and the shorter time is reported.
"""

import json
import math
import os
import re
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit(3)

LAST = torch.channels_last
FORMATS = [torch.contiguous_format, LAST]


def times(run, seconds):
    """Returns the times of `run` in seconds in ascending order, after a warm-up."""
    run()
    run()
    all = []
    start = time.perf_counter()
    while len(all) < 3 or time.perf_counter() - start < seconds:
        t = time.perf_counter()
        run()
        all.append(time.perf_counter() - t)
    return sorted(all)


def matmul(r):
    dtype = getattr(torch, r["dtype"])
    m, k, n = r["m"], r["k"], r["n"]
    a, b = torch.randn(m, k, dtype=dtype), torch.randn(k, n, dtype=dtype)
    y = torch.empty(m, n, dtype=dtype)
    if r["transposed"]:
        a, b = a.t().contiguous().t(), b.t().contiguous().t()
    return lambda: torch.mm(a, b, out=y)


def conv(r, memory):
    dtype = getattr(torch, r["dtype"])
    kind = {"dtype": dtype, "memory_format": memory}
    x = torch.randn(r["batch"], r["C"], r["side"], r["side"]).to(**kind)
    w = torch.randn(r["O"], r["C"] // r["groups"], r["K"], r["K"]).to(**kind)
    options = [[r["stride"]] * 2, [int(r["padding"])] * 2, [r["dilation"]] * 2]
    y = torch.conv2d(x, w, None, *options, r["groups"])
    if r["direction"] == "forward":
        return lambda: torch.conv2d(x, w, None, *options, r["groups"])
    g = torch.randn_like(y)
    mask = [r["direction"] == "gradX", r["direction"] == "gradW", False]
    return lambda: torch.ops.aten.convolution_backward(g, x, w, None, *options, False, [0, 0], r["groups"], mask)


class SE(nn.Module):
    def __init__(self, c, r):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(c, c // r, bias=False), nn.ReLU(), nn.Linear(c // r, c, bias=False), nn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class Block(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.conv, self.bn, self.se = nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), SE(o, 4)

    def forward(self, x):
        return self.se(F.relu(self.bn(self.conv(x))))


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Residual(nn.Module):
    """conv → BN → ReLU → conv → BN → SE, plus the shortcut (1×1 convolution and BN where shapes differ), ReLU."""

    def __init__(self, i, o, stride):
        super().__init__()
        self.a, self.b = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.Conv2d(o, o, 3, 1, 1, bias=False)
        self.bn1, self.bn2, self.se = nn.BatchNorm2d(o), nn.BatchNorm2d(o), SE(o, 4)
        same = stride == 1 and i == o
        self.short = nn.Identity() if same else nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(self, x):
        return F.relu(self.se(self.bn2(self.b(F.relu(self.bn1(self.a(x)))))) + self.short(x))


def network(name):
    if name.startswith("tiny"):
        return nn.Sequential(Block(3, 16), nn.MaxPool2d(2), Block(16, 32), nn.MaxPool2d(2), Block(32, 64), Mean(), nn.Linear(64, 10))
    n = (int(name.rsplit("-", 1)[1]) - 2) // 6
    layers = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    c = 16
    for width, stride in [(16, 1), (32, 2), (64, 2)]:
        for k in range(n):
            layers.append(Residual(c, width, stride if k == 0 else 1))
            c = width
    return nn.Sequential(*layers, Mean(), nn.Linear(64, 10))


def step(r, memory):
    net = network(r["model"]).to(memory_format=memory)
    x = torch.randn(r["batch"], 3, 32, 32).to(memory_format=memory)
    y = torch.randint(0, 10, (r["batch"],))
    sgd = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def run():
        loss = F.cross_entropy(net(x), y)
        sgd.zero_grad(set_to_none=True)
        loss.backward()
        sgd.step()

    return run


def image_op(r, memory):
    """Forward of one operation on an activation of 4 MB."""
    x = torch.randn(64, 16, 32, 32).to(memory_format=memory)
    z = torch.randn(64, 16, 32, 32).to(memory_format=memory)
    s = torch.randn(16, 1, 1)
    run = {
        "relu": lambda: torch.relu(x),
        "exp": lambda: torch.exp(x),
        "add": lambda: x + z,
        "mul by channel": lambda: x * s,
        "sum": lambda: x.sum(),
        "mean of planes": lambda: x.mean((2, 3)),
        "sum by channel": lambda: x.sum((0, 2, 3)),
        "maxPool2d": lambda: F.max_pool2d(x, 2),
    }[r["op"]]

    def quietly():
        with torch.no_grad():
            run()

    return quietly


def module_op(r, memory):
    """Forward and backward of a module."""
    if r["op"].startswith("SE"):
        x, module = torch.randn(16, 64, 32, 32), SE(64, 16)
    else:
        x, module = torch.randn(64, 16, 32, 32), nn.BatchNorm2d(16)
        if "relu" in r["op"]:
            module = nn.Sequential(module, nn.ReLU())
    x = x.to(memory_format=memory).requires_grad_()
    g = module(x).detach().clone()
    inputs = [x, *module.parameters()]
    return lambda: torch.autograd.grad(module(x), inputs, g)


def small_op(r):
    if r["op"] == "cross entropy":
        x, y = torch.randn(512, 10, requires_grad=True), torch.randint(0, 10, (512,))
        return lambda: torch.autograd.grad(F.cross_entropy(x, y), [x])
    if r["op"] in ("sgd", "adam"):
        params = [torch.randn(4320, requires_grad=True) for _ in range(65)]
        for p in params:
            p.grad = p.detach().clone()
        if r["op"] == "adam":
            return torch.optim.Adam(params, lr=1e-5, weight_decay=5e-4).step
        return torch.optim.SGD(params, lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4).step
    if r["op"] == "chain":
        x, a, b = torch.ones(1, requires_grad=True), torch.tensor([1.0001]), torch.tensor([1e-4])

        def run():
            y = x
            for _ in range(500):
                y = y * a + b
            y.backward()
            x.grad = None

        return run
    return None


def runs(r):
    """Returns the functions to time: one, or one for each memory format."""
    op = r["op"]
    if op == "matmul":
        return [matmul(r)]
    for kind, make in [("conv", conv), ("step", step)]:
        if op == kind:
            return [make(r, memory) for memory in FORMATS]
    if op.startswith(("SE", "batch norm")):
        return [module_op(r, memory) for memory in FORMATS]
    small = small_op(r)
    return [small] if small is not None else [image_op(r, memory) for memory in FORMATS]


def mixed(n):
    """Mixes the bits of numbers below 2³² as operands.mjs."""
    mask = 2**32 - 1
    h = (n ^ (n >> 16)) * 0x85EBCA6B & mask
    h = (h ^ (h >> 13)) * 0xC2B2AE35 & mask
    return h ^ (h >> 16)


def operand(shape, salt, scale=1.0):
    """Returns the numbers of operands.mjs."""
    i = torch.arange(math.prod(shape)) + 0x1000000 * salt
    return (scale * (mixed(i).double() / 2**31 - 1)).float().reshape(shape)


def samples(t):
    t = t.detach().reshape(-1)
    return [t[mixed(i) % len(t)].item() for i in range(min(len(t), 64))]


def conv_values(r):
    n, c, o, side, k = r["batch"], r["C"], r["O"], r["side"], r["K"]
    x = operand([n, c, side, side], 1).requires_grad_()
    w = operand([o, c, k, k], 2, (c * k * k) ** -0.5).requires_grad_()
    y = F.conv2d(x, w, padding=int(r["padding"]))
    if r["direction"] == "forward":
        return [y]
    return torch.autograd.grad(y, [x if r["direction"] == "gradX" else w], operand([n, o, side, side], 3))


def step_values(r):
    """Returns the loss, and gradients of the first convolution's and the last layer's weights."""
    net = network(r["model"])
    with torch.no_grad():
        for salt, p in enumerate(net.parameters()):
            if p.dim() > 1:
                p.copy_(operand(p.shape, salt, math.prod(p.shape[1:]) ** -0.5))
        net[-1].bias.zero_()
    loss = F.cross_entropy(net(operand([r["batch"], 3, 32, 32], 100)), torch.arange(r["batch"]) % 10)
    return [loss, *torch.autograd.grad(loss, [net[0].conv.weight, net[-1].weight])]


def values(r):
    if r["op"] == "matmul":
        return [operand([r["m"], r["k"]], 1) @ operand([r["k"], r["n"]], 2)]
    return (conv_values if r["op"] == "conv" else step_values)(r)


def blas():
    """Returns the file name of the BLAS library in use, which determines the speed of PyTorch's matrix products."""
    torch.mm(torch.ones(64, 64), torch.ones(64, 64))
    try:
        with open("/proc/self/maps", encoding="utf8") as maps:
            files = {line.split()[-1] for line in maps if re.search(r"/[^/]*(blas|mkl)[^/]*\.so", line)}
    except OSError:
        files = set()
    return ", ".join(sorted(os.path.basename(f) for f in files)) or "unknown"


print(json.dumps({"version": torch.__version__, "blas": blas()}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    torch.set_num_threads(request["threads"])
    try:
        all = min(times(run, request["seconds"]) for run in runs(request))
        answer = {"seconds": all[0], "median": all[len(all) // 2]}
    except KeyError:
        answer = {"seconds": None}
    if "check" in request:
        answer["values"] = [samples(v) for v in values(request)]
    print(json.dumps(answer), flush=True)
