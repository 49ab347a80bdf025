"""Linear regression by gradient descent, each rank on its own rows."""
import json
import os
import random
import time
from pathlib import Path

import ranks

PARAMS = Path("/ml/params.json")
p = {"seed": 7, "rows": 3000, "lr": 0.5, "epochs": 40, "pace": 0.0}
p.update(json.loads(PARAMS.read_text()) if PARAMS.exists() else {})

# Every rank draws all rows and keeps its own: nobody has to hand them out, and no row is seen twice.
TRUTH = [3.0, -2.0, 0.5]
draw = random.Random(p["seed"])
rows = []
for i in range(p["rows"]):
    x = [draw.uniform(-1, 1), draw.uniform(-1, 1), 1.0]
    y = sum(a * b for a, b in zip(TRUTH, x)) + draw.gauss(0, 0.1)
    if i % ranks.WORLD == ranks.RANK:
        rows.append((x, y))

everybody = ranks.Ranks()
print(f"rank {ranks.RANK} of {ranks.WORLD} on {os.uname().nodename}: {len(rows)} rows", flush=True)

weights, loss = [0.0] * len(TRUTH), 0.0
for epoch in range(1, p["epochs"] + 1):
    gradient, loss = [0.0] * len(weights), 0.0
    for x, y in rows:
        miss = sum(w * a for w, a in zip(weights, x)) - y
        loss += miss * miss / len(rows)
        for j, a in enumerate(x):
            gradient[j] += 2 * miss * a / len(rows)
    *gradient, loss = everybody.average(gradient + [loss])
    weights = [w - p["lr"] * g for w, g in zip(weights, gradient)]
    if ranks.RANK == 0:
        print("::ml:: " + json.dumps({"step": epoch, "total": p["epochs"], "loss": round(loss, 5)}), flush=True)
    time.sleep(p["pace"])

# Rank 0 speaks for all.
if ranks.RANK == 0:
    error = max(abs(w - t) for w, t in zip(weights, TRUTH))
    result = {"metrics": {"loss": round(loss, 5), "error": round(error, 5), "ranks": ranks.WORLD},
              "outputs": {"weights": [round(w, 4) for w in weights]}}
    log = Path("/dev/termination-log")
    (log.write_text if log.exists() else print)(json.dumps(result))
