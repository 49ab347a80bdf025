"""Judge the trained model on rows that it has never seen. The gates in pipeline.yaml decide on these numbers."""
import argparse
import io
import pickle

import numpy as np
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

import ml

args = argparse.ArgumentParser(description=__doc__)
args.add_argument("--model", help="URI of the model; default: the newest one in the workspace")
args.add_argument("--digest", help="what the model's content must hash to")
args = args.parse_args()

if args.model:
    path = ml.from_uri(args.model)
else:
    path = max((ml.DATA / "models").glob("*/*/model.pkl"), key=lambda file: file.stat().st_mtime)
content = path.read_bytes()
digest = ml.digest(content)
# Unpickling runs whatever the file says, so make sure first that it is the file that train.py wrote.
if args.digest and args.digest != digest:
    raise SystemExit(f"{path} has digest {digest}, expected {args.digest}: not the model that was trained")
model = pickle.loads(content)["model"]

archive = (ml.DATA / "features" / "houses.npz").read_bytes()
features = np.load(io.BytesIO(archive))
truth, guess = features["y_test"], model.predict(features["x_test"])

rmse = mean_squared_error(truth, guess) ** 0.5
mae = mean_absolute_error(truth, guess)
r2 = r2_score(truth, guess)
print(f"{path}: off by {mae:,.0f} on average over {len(truth)} houses; r2 {r2:.3f}", flush=True)
ml.result(
    metrics={"rmse": round(rmse, 1), "mae": round(mae, 1), "r2": round(r2, 4)},
    data={"digest": ml.digest(archive), "rows": len(truth)},
)
