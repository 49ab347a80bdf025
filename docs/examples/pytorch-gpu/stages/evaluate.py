"""Judge the trained network on points that it has never seen. The gates in pipeline.yaml decide on these numbers."""
import argparse
import io

import torch

import ml
from model import network, spirals

args = argparse.ArgumentParser(description=__doc__)
args.add_argument("--model", required=True, help="URI of the weights")
args.add_argument("--digest", help="what the weights must hash to")
args = args.parse_args()
p = ml.params(seed=7)

content = ml.from_uri(args.model).read_bytes()
if args.digest and args.digest != ml.digest(content):
    raise SystemExit(f"{args.model} has digest {ml.digest(content)}, expected {args.digest}: not the model that was trained")

net = network()
net.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
net.eval()

x, y = spirals(5000, seed=p.seed + 1)  # another seed: the same spirals, other points
with torch.no_grad():
    logits = net(x)
ml.result(
    metrics={
        "accuracy": round((logits.argmax(dim=1) == y).float().mean().item(), 4),
        "loss": round(torch.nn.functional.cross_entropy(logits, y).item(), 4),
    },
    data={"version": f"spirals-seed{p.seed + 1}", "rows": len(x)},
)
