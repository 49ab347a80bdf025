"""All a stage needs to work with kubectl ml: parameters come in, progress and one result go out.

There is no SDK. These few lines are plain files and prints; keep them, change them, or write them in another language.
Outside a cluster the same code takes its defaults and prints, so every stage also runs on a laptop.
"""
import hashlib
import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace

RUN = os.environ.get("ML_RUN", "local")
DATA = Path(os.environ.get("DATA_DIR", "/data"))  # where the workspace is mounted
CLAIM = os.environ.get("DATA_CLAIM", "data-volume-claim")  # the claim behind it, for model URIs
PARAMS_FILE = Path("/ml/params.json")
TERMINATION_LOG = Path("/dev/termination-log")


def params(**defaults):
    """The run's parameters as attributes, each in the type of its default: params(lr=0.1).lr"""
    given = json.loads(PARAMS_FILE.read_text()) if PARAMS_FILE.exists() else {}
    for name in defaults.keys() - given.keys():
        text = os.environ.get("ML_PARAM_" + name.upper().replace("-", "_"))
        if text is not None:
            given[name] = text if isinstance(defaults[name], str) else json.loads(text)
    return SimpleNamespace(**{name: type(default)(given.get(name, default)) for name, default in defaults.items()})


def progress(step, total, **values):
    """One line of progress; kubectl ml draws the bar and the loss curve from it."""
    # flush: a container's stdout is a pipe, and a buffered line is a late line.
    print("::ml::", json.dumps({"step": step, "total": total, **values}), flush=True)


def result(**document):
    """Hand the stage's result (metrics, model, data) to the run; call it once, at the end."""
    text = json.dumps(document, allow_nan=False)  # a metric that is not a number must fail here, not at a gate
    if len(text.encode()) > 4096:
        raise ValueError("the result is over 4 KiB, which Kubernetes would cut off")
    print(text, flush=True)
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_text(text)


def store(path, content):
    """Write a file whole or not at all, so that a killed pod never leaves half of one. Returns its digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{socket.gethostname()}")  # pods that share the volume keep apart
    partial.write_bytes(content)
    partial.replace(path)
    return digest(content)


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


def to_uri(path):
    """Name a file of the workspace so that it can be found from outside the pod."""
    return f"pvc://{CLAIM}/{path.relative_to(DATA)}"


def from_uri(uri):
    """The inverse of to_uri."""
    prefix = f"pvc://{CLAIM}/"
    if not uri.startswith(prefix):
        raise ValueError(f"{uri!r} is not in this workspace ({prefix}...)")
    return DATA / uri[len(prefix):]
