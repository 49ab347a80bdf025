"""Serve the model over HTTP: POST /predict, GET /healthz, and metrics for Prometheus on another port."""
import json
import os
import pickle
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from prometheus_client import Counter, Summary, start_http_server

import ml
from houses import MAY_BE_UNKNOWN, NUMBERS, features

REQUEST_LATENCY = Summary("request_latency_seconds", "Latency of requests in seconds")
REQUEST_COUNT = Counter("request_count", "Number of requests processed")

MOST = 1 << 20  # bytes of a request, some thousands of houses
VERSION = f"{os.environ.get('ML_MODEL', 'house-prices')}:{os.environ.get('ML_MODEL_VERSION', '?')}"


def load(path, digest):
    """Unpickling runs whatever the file says, so make sure first that it is the file that was registered."""
    content = path.read_bytes()
    if digest and digest != ml.digest(content):
        raise SystemExit(f"{path} has digest {ml.digest(content)}, expected {digest}: not the model that was registered")
    return pickle.loads(content)


def predict(houses):
    """Prices of houses. What one of them lacks is a ValueError with words for the caller."""
    for house in houses:
        missing = [name for name in NUMBERS if name not in MAY_BE_UNKNOWN and name not in house]
        if missing or house.get("neighbourhood") not in scaling["places"]:
            raise ValueError(f"a house needs {', '.join(NUMBERS)} and a neighbourhood out of {', '.join(scaling['places'])}")
    x, _ = features(houses, scaling["medians"], scaling["places"])
    x = (x - np.array(scaling["mean"])) / np.array(scaling["std"])
    if not np.isfinite(x).all():
        raise ValueError("area and rooms must be more than 0, and everything a number")
    return [round(price, 2) for price in model.predict(x).tolist()]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # a client that sends nothing does not hold a thread for ever

    def answer(self, code, document):
        body = json.dumps(document).encode() + b"\n"
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200, {"ok": True, "version": VERSION})
        else:
            self.answer(404, {"error": "there is POST /predict and GET /healthz"})

    def body(self):
        """What was sent, in one piece or, as proxies do, in chunks."""
        close, self.close_connection = self.close_connection, True  # what is not read would be taken for the next request
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            pieces, size = [], 1
            while size and sum(map(len, pieces)) <= MOST:
                size = int(self.rfile.readline(32).split(b";")[0], 16)
                pieces.append(self.rfile.read(max(0, min(size, MOST + 1))))
                self.rfile.readline(32)
            content = b"".join(pieces)
        else:
            content = self.rfile.read(max(0, min(int(self.headers.get("Content-Length", "0")), MOST + 1)))
        if len(content) > MOST:
            raise ValueError(f"that is too much: at most {MOST} bytes")
        self.close_connection = close
        return content

    @REQUEST_LATENCY.time()
    def do_POST(self):
        REQUEST_COUNT.inc()
        if self.path != "/predict":
            return self.answer(404, {"error": "there is POST /predict and GET /healthz"})
        try:
            sent = json.loads(self.body())
            houses = sent if isinstance(sent, list) else [sent]
            if not houses or not all(isinstance(house, dict) for house in houses):
                raise ValueError("send a house as a JSON object, or a list of them")
            prices = predict(houses)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            return self.answer(400, {"error": str(error)})
        self.answer(200, {"version": VERSION, "prices": prices} if isinstance(sent, list) else {"version": VERSION, "price": prices[0]})

    def log_message(self, *args):
        pass  # the metrics count requests; a line each would bury what matters


if __name__ == "__main__":
    artifact = load(Path(os.environ["ML_MODEL_PATH"]), os.environ.get("ML_MODEL_DIGEST"))
    model, scaling = artifact["model"], artifact["scaling"]
    start_http_server(int(os.environ.get("METRICS_PORT", "9090")))
    server = ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler)
    # What has been accepted is answered before a pod goes; the others already have all new requests.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving {VERSION} on port {server.server_port}", flush=True)
    server.serve_forever()
    server.server_close()
