"""Turn raw rows into what a model can learn from: clean, engineer, split, standardise."""
import csv
import io

import numpy as np

import ml

p = ml.params(seed=7, test_share=0.2)
raw = (ml.DATA / "raw" / "houses.csv").read_bytes()
sent = list(csv.DictReader(io.StringIO(raw.decode())))

# Clean: one row a house, and none that cannot be true.
houses = list({row["id"]: row for row in sent}.values())
houses = [row for row in houses if float(row["area"]) > 10 and float(row["price"]) > 0]
if len(houses) < 100:
    raise SystemExit(f"only {len(houses)} usable rows of {len(sent)}: too few to train on")


def column(name):
    return np.array([float(row[name] or "nan") for row in houses])


# Split before anything is learnt from the data, medians and means included: the test rows stay unseen.
order = np.random.default_rng(p.seed).permutation(len(houses))
test, train = np.split(order, [int(len(houses) * p.test_share)])

columns = {name: column(name) for name in ["area", "rooms", "age", "distance", "floor", "garden", "condition"]}
for name in ["age", "distance"]:
    unknown = np.isnan(columns[name])
    columns[name + "_unknown"] = unknown.astype(float)
    columns[name] = np.where(unknown, np.nanmedian(columns[name][train]), columns[name])
columns["log_area"] = np.log(columns["area"])
columns["area_per_room"] = columns["area"] / columns["rooms"]
columns["central"] = np.exp(-columns["distance"] / 10)
columns["garden_central"] = columns["garden"] * columns["central"]
for place in sorted({row["neighbourhood"] for row in houses}):
    columns["in_" + place.lower().replace(" ", "_")] = np.array([float(row["neighbourhood"] == place) for row in houses])

x, y = np.column_stack(list(columns.values())), column("price")
mean, std = x[train].mean(axis=0), x[train].std(axis=0)
x = (x - mean) / np.where(std > 0, std, 1)

# mean, std and names travel with the arrays: a server has to scale its requests in the same way.
archive = io.BytesIO()
np.savez(archive, x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test], names=list(columns), mean=mean, std=std)
digest = ml.store(ml.DATA / "features" / "houses.npz", archive.getvalue())
print(f"{len(sent)} rows in, {len(houses)} kept, {len(columns)} features: {', '.join(columns)}")
ml.result(
    metrics={"rows": len(houses), "dropped": len(sent) - len(houses), "features": len(columns)},
    data={"digest": digest, "source": ml.digest(raw), "train_rows": len(train), "test_rows": len(test)},
)
