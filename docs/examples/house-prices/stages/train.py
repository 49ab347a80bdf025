"""Fit gradient boosted trees, a few at a time, and keep the model under the digest of its content."""
import io
import json
import pickle
import time

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.metrics import mean_squared_error, r2_score

import ml

STEP = 10  # trees between two lines of progress

# pace: seconds to pause after each step, so that there is something to watch. Real training wants 0.
p = ml.params(seed=7, lr=0.1, trees=300, max_depth=4, pace=0.4)

archive = (ml.DATA / "features" / "houses.npz").read_bytes()
features = np.load(io.BytesIO(archive))
x, y = features["x_train"], features["y_train"]
held = len(x) // 5  # part of the training rows judges the fit; the test rows are left for validate.py
x_fit, y_fit, x_held, y_held = x[held:], y[held:], x[:held], y[:held]

# warm_start keeps the trees already grown, so raising n_estimators and fitting again only adds the new ones.
model = GradientBoostingRegressor(learning_rate=p.lr, max_depth=p.max_depth, subsample=0.8, random_state=p.seed, warm_start=True)
print(f"training on {len(x_fit)} rows: lr={p.lr} trees={p.trees} max_depth={p.max_depth}", flush=True)
for grown in range(min(STEP, p.trees), p.trees + STEP, STEP):
    model.set_params(n_estimators=min(grown, p.trees)).fit(x_fit, y_fit)
    rmse = mean_squared_error(y_held, model.predict(x_held)) ** 0.5
    ml.progress(model.n_estimators, p.trees, loss=round(rmse, 1))
    time.sleep(p.pace)

# The children of a sweep share a run. A folder named by content keeps their models apart,
# and a retry can never change a model that something already refers to.
# The scaling is part of the model: served without it, it would predict nonsense.
content = pickle.dumps({"model": model, "scaling": json.loads(str(features["scaling"]))})
path = ml.DATA / "models" / ml.RUN / ml.digest(content)[7:19] / "model.pkl"
digest = ml.store(path, content)
ml.result(
    metrics={"rmse": round(rmse, 1), "r2": round(r2_score(y_held, model.predict(x_held)), 4)},
    model={"uri": ml.to_uri(path), "digest": digest, "size": len(content), "format": "pickle"},
    data={"digest": ml.digest(archive), "rows": len(x_fit)},
)
