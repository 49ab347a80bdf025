"""What a distributed training needs of its pods: find each other, and average. Sockets and JSON, nothing else.

kubectl ml gives every pod its rank, and the name of rank 0: MASTER_ADDR is the pod's name under the Service of the stage,
so it stays the same when the pod is started again elsewhere.
"""
import json
import os
import socket
import time

RANK = int(os.environ.get("RANK", 0))
WORLD = int(os.environ.get("WORLD_SIZE", 1))
ADDRESS = (os.environ.get("MASTER_ADDR", "localhost"), int(os.environ.get("MASTER_PORT", 29500)))


class Ranks:
    """All ranks, seen from one of them. A rank that is lost ends the others too: none can go on without it."""

    def __init__(self, patience=300):
        self.peers = []
        if RANK > 0:
            self.peers = [_dial(time.monotonic() + patience)]
            _send(self.peers[0], RANK)
        elif WORLD > 1:
            listener = socket.create_server(("", ADDRESS[1]))
            listener.settimeout(patience)
            # Every rank says who it is: the order in which they come must not change any sum.
            known = {}
            while len(known) < WORLD - 1:
                peer = listener.accept()[0].makefile("rw")
                known[_receive(peer)] = peer
            self.peers = [known[rank] for rank in sorted(known)]

    def average(self, values):
        """The mean of a list of numbers over all ranks; every rank gets the same."""
        if RANK > 0:
            _send(self.peers[0], values)
            return _receive(self.peers[0])
        lists = [values] + [_receive(peer) for peer in self.peers]
        mean = [sum(column) / WORLD for column in zip(*lists)]
        for peer in self.peers:
            _send(peer, mean)
        return mean


def _dial(deadline):
    """Connect to rank 0, which may not be there yet."""
    while True:
        try:
            # The read end waits as long as rank 0 computes.
            peer = socket.create_connection(ADDRESS, timeout=10)
            peer.settimeout(None)
            return peer.makefile("rw")
        except OSError as e:
            if time.monotonic() > deadline:
                raise SystemExit(f"rank {RANK}: no rank 0 at {ADDRESS[0]}:{ADDRESS[1]}: {e}")
            time.sleep(0.5)


def _send(peer, value):
    peer.write(json.dumps(value) + "\n")
    peer.flush()


def _receive(peer):
    line = peer.readline()
    if not line:
        raise SystemExit(f"rank {RANK}: the other side is gone")
    return json.loads(line)
