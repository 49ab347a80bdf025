"""Turn raw rows into what a model can learn from: clean, engineer, split, standardise."""
import csv
import io
import json

import numpy as np

import ml
from houses import MAY_BE_UNKNOWN, features, numbers

p = ml.params(seed=7, test_share=0.2)
raw = (ml.DATA / "raw" / "houses.csv").read_bytes()
sent = list(csv.DictReader(io.StringIO(raw.decode())))

# Clean: one row a house, and none that cannot be true.
houses = list({row["id"]: row for row in sent}.values())
houses = [row for row in houses if float(row["area"]) > 10 and float(row["price"]) > 0]
if len(houses) < 100:
    raise SystemExit(f"only {len(houses)} usable rows of {len(sent)}: too few to train on")

# Split before anything is learnt from the data, medians and means included: the test rows stay unseen.
order = np.random.default_rng(p.seed).permutation(len(houses))
test, train = np.split(order, [int(len(houses) * p.test_share)])

medians = {name: np.nanmedian(numbers(houses, name)[train]) for name in MAY_BE_UNKNOWN}
places = sorted({row["neighbourhood"] for row in houses})
x, names = features(houses, medians, places)
y = numbers(houses, "price")
mean, std = x[train].mean(axis=0), x[train].std(axis=0)
std = np.where(std > 0, std, 1)
x = (x - mean) / std

# What was learnt from the training rows travels with the arrays: a server has to treat its requests in the same way.
scaling = {"names": names, "places": places, "medians": medians, "mean": mean.tolist(), "std": std.tolist()}
archive = io.BytesIO()
np.savez(archive, x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test], scaling=json.dumps(scaling))
digest = ml.store(ml.DATA / "features" / "houses.npz", archive.getvalue())
print(f"{len(sent)} rows in, {len(houses)} kept, {len(names)} features: {', '.join(names)}")
ml.result(
    metrics={"rows": len(houses), "dropped": len(sent) - len(houses), "features": len(names)},
    data={"digest": digest, "source": ml.digest(raw), "train_rows": len(train), "test_rows": len(test)},
)
