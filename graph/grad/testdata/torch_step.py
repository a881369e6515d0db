"""Takes a training step in torch for each line that it reads: forward, loss and
gradients by all parameters, without their update. Prints how many seconds
each takes.

usage: torch_step.py MODEL THREADS, where MODEL is a function below."""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    """A basic block of a ResNet for CIFAR with a projecting shortcut."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.c1, self.b1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.c2, self.b2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.short = nn.Sequential()
        if stride != 1 or cin != cout:
            self.short = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = F.relu(self.b1(self.c1(x)))
        return F.relu(self.b2(self.c2(y)) + self.short(x))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    cin = 16
    for cout in (16, 32, 64):
        for i in range(3):
            layers.append(Block(cin, cout, 2 if i == 0 and cout > 16 else 1))
            cin = cout
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    x, labels = torch.randn(32, 3, 32, 32), torch.zeros(32, dtype=torch.int64)
    return net, lambda: F.cross_entropy(net(x), labels)


def transformer():
    """A block of BERT-tiny: 128 features, 2 heads, 512 hidden, 32 sequences
    of 128 tokens."""
    net = nn.TransformerEncoderLayer(128, 2, 512, dropout=0.0, activation="gelu", batch_first=True)
    x = torch.randn(32, 128, 128)
    return net, lambda: (net(x) ** 2).mean()


def main():
    torch.set_num_threads(int(sys.argv[2]))
    net, loss = globals()[sys.argv[1]]()
    net.train()
    for _ in sys.stdin:
        net.zero_grad(set_to_none=True)
        start = time.perf_counter()
        loss().backward()
        print(time.perf_counter() - start, flush=True)


main()
