"""The network and its data, shared by train.py and evaluate.py. Put your own here."""
import math

import torch
from torch import nn


def network():
    return nn.Sequential(nn.Linear(2, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))


def spirals(rows, seed):
    """Two spirals wound into each other: nothing to download, and no straight line separates them."""
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(2, (rows,), generator=g)
    turn = torch.rand(rows, generator=g).sqrt() * 3 * math.pi
    angle = turn + label * math.pi
    points = torch.stack([angle.cos(), angle.sin()], dim=1) * (turn / (3 * math.pi))[:, None]
    return points + 0.02 * torch.randn(rows, 2, generator=g), label
