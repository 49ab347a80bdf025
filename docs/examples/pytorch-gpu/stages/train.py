"""Train on every GPU of the pod, and go on from the last checkpoint when the pod was lost.

torchrun starts this file once for each GPU; the processes find each other through its environment variables.
"""
import hashlib
import io
import json
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import ml
from model import network, spirals

p = ml.params(seed=7, lr=0.005, epochs=30, batch=256, rows=20000)
cuda = torch.cuda.is_available()
dist.init_process_group("nccl" if cuda else "gloo")
device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
if cuda:
    torch.cuda.set_device(device)
first = dist.get_rank() == 0  # only one process writes files and talks
torch.manual_seed(p.seed)

data = TensorDataset(*spirals(p.rows, p.seed))
sampler = DistributedSampler(data, seed=p.seed)  # gives each process its own share of the rows
loader = DataLoader(data, batch_size=p.batch, sampler=sampler)
net = network().to(device)
model = nn.parallel.DistributedDataParallel(net, device_ids=[device.index] if cuda else None)
optimizer = torch.optim.AdamW(model.parameters(), lr=p.lr)

# One checkpoint for each run and set of parameters: a retry finds its own, the child of a sweep never another's.
key = hashlib.sha256(json.dumps(vars(p), sort_keys=True).encode()).hexdigest()[:12]
checkpoint = ml.DATA / "checkpoints" / ml.RUN / f"{key}.pt"
start, loss = 0, float("nan")
if checkpoint.exists():
    saved = torch.load(checkpoint, map_location=device, weights_only=True)
    net.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    start, loss = saved["epoch"], saved["loss"]
    if first:
        print(f"going on after epoch {start} of {p.epochs}", flush=True)

for epoch in range(start, p.epochs):
    sampler.set_epoch(epoch)  # another order every epoch, and the same one after a restart
    total = torch.zeros((), device=device)
    for x, y in loader:
        optimizer.zero_grad()
        batch_loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
        batch_loss.backward()
        optimizer.step()
        total += batch_loss.detach()
    dist.all_reduce(total)
    loss = total.item() / len(loader) / dist.get_world_size()
    if first:
        state = io.BytesIO()
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1, "loss": loss}, state)
        ml.store(checkpoint, state.getvalue())
        ml.progress(epoch + 1, p.epochs, loss=round(loss, 4))

if first:
    weights = io.BytesIO()
    torch.save({name: value.cpu() for name, value in net.state_dict().items()}, weights)
    content = weights.getvalue()
    path = ml.DATA / "models" / ml.RUN / ml.digest(content)[7:19] / "model.pt"
    digest = ml.store(path, content)
    ml.result(
        metrics={"loss": round(loss, 4), "epochs": p.epochs, "gpus": dist.get_world_size() if cuda else 0},
        model={"uri": ml.to_uri(path), "digest": digest, "size": len(content), "format": "pytorch"},
        data={"version": f"spirals-seed{p.seed}", "rows": p.rows},
    )
dist.destroy_process_group()
