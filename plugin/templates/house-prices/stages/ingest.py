"""Bring in the raw data: a CSV of house sales, invented here so that the example needs no download.

In your own pipeline this is where you copy from a bucket or a database. What matters is the end:
the stage reports which data it got, by version and digest, so that a model can be traced back to it.
"""
import csv
import io

import numpy as np

import ml

COLUMNS = ["id", "area", "rooms", "age", "distance", "floor", "garden", "condition", "neighbourhood", "price"]
NEIGHBOURHOODS = {"Harbour": 1.30, "Hillside": 1.15, "Meadows": 0.95, "Old Town": 1.40, "Parkside": 1.10, "Station": 0.80}

p = ml.params(seed=7, rows=4000)
rng = np.random.default_rng(p.seed)

area = rng.lognormal(4.5, 0.35, p.rows).clip(25, 320)  # square metres
rooms = (area / 26 + rng.normal(0, 0.7, p.rows)).round().clip(1, 12)
age = rng.gamma(2.0, 20.0, p.rows).clip(0, 150).round()
distance = rng.gamma(2.0, 4.0, p.rows).clip(0.2, 45)  # kilometres to the centre
floor = rng.integers(0, 9, p.rows)
garden = rng.random(p.rows) < 0.15 + 0.5 * (floor == 0)
condition = rng.integers(1, 6, p.rows)  # 1: to be renovated ... 5: like new
where = rng.choice(list(NEIGHBOURHOODS), p.rows)

# Prices are not linear, so that a tree model has something to find: the centre decays, old houses
# regain charm, a garden is worth more in town, and a higher floor pleases only up to a point.
price = 4200 * area**0.92 * np.array([NEIGHBOURHOODS[name] for name in where])
price *= 0.45 + 0.75 * np.exp(-distance / 9)
price *= 1 - 0.35 * np.sin(np.pi * age.clip(0, 110) / 110)
price *= 0.80 + 0.08 * condition
price += garden * (18_000 + 60_000 * np.exp(-distance / 5)) + 4_000 * np.minimum(floor, 5)
price *= rng.lognormal(0, 0.10, p.rows)  # what no column explains

table = io.StringIO()
writer = csv.writer(table, lineterminator="\n")
writer.writerow(COLUMNS)
for i in range(p.rows):
    row = [i, f"{area[i]:.1f}", int(rooms[i]), int(age[i]), f"{distance[i]:.2f}", floor[i], int(garden[i]), condition[i], where[i], f"{price[i]:.0f}"]
    if rng.random() < 0.03:
        row[rng.integers(3, 5)] = ""  # real data has holes: an unknown age or distance
    writer.writerows([row] * (1 + (rng.random() < 0.01)))  # ... and rows that were sent twice

content = table.getvalue().encode()
digest = ml.store(ml.DATA / "raw" / "houses.csv", content)
rows = content.count(b"\n") - 1
print(f"wrote {rows} rows, {len(content)} bytes")
ml.result(metrics={"rows": rows}, data={"version": f"houses-seed{p.seed}-{digest[7:15]}", "digest": digest, "rows": rows})
