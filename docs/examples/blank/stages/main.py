"""The whole contract of a stage: read parameters, print progress, leave a result."""
import json
import os
import time

# Parameters come as a file, and each as ML_PARAM_<NAME> as well. Without either (on a laptop) the defaults hold.
params = {"greeting": "hello", "steps": 5}
if os.path.exists("/ml/params.json"):
    with open("/ml/params.json") as file:
        params.update(json.load(file))

print(f"{params['greeting']} from {os.environ.get('ML_STAGE', 'nowhere')} of {os.environ.get('ML_RUN', 'no run')}", flush=True)

loss = 1.0
for step in range(1, params["steps"] + 1):
    time.sleep(1)  # your work goes here
    loss *= 0.8
    # A line like this is progress: kubectl ml draws the bar and the curve from it.
    print("::ml::", json.dumps({"step": step, "total": params["steps"], "loss": round(loss, 4)}), flush=True)

# The result: at most 4 KiB of JSON with the keys metrics, model, data and outputs, each of them optional.
# Kubernetes takes it from this file, which is there in every container.
result = json.dumps({"metrics": {"loss": round(loss, 4)}})
print(result)
if os.path.exists("/dev/termination-log"):
    with open("/dev/termination-log", "w") as file:
        file.write(result)
