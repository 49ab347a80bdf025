"""Judge a canary by what it answers: a bigger house costs more, and the version that was deployed is the one that serves."""
import json
import os
import urllib.request

address = os.environ["ML_CANARY_ADDRESS"]  # where the pods of the new version alone are reached
house = {"area": 60, "rooms": 3, "age": 20, "distance": 4, "floor": 2, "garden": 0, "condition": 4, "neighbourhood": "Old Town"}
request = urllib.request.Request(f"http://{address}/predict", json.dumps([house, house | {"area": 120, "rooms": 5}]).encode())
with urllib.request.urlopen(request, timeout=10) as answer:
    said = json.load(answer)

small, large = said["prices"]
print(f"{said['version']}: {small:,.0f} for 60 square metres, {large:,.0f} for 120")
expected = f"{os.environ['ML_MODEL']}:{os.environ['ML_MODEL_VERSION']}"
if said["version"] != expected:
    raise SystemExit(f"{said['version']} answers, not {expected}")
if not 0 < small < large:
    raise SystemExit("a house of twice the size must cost more")
