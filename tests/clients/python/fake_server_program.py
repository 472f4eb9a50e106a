"""Takes the arguments of the real server; its configuration file says how it behaves: well, dies, never-ready or bad-exit."""

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from fake_server import FakeServer

parser = argparse.ArgumentParser()
parser.add_argument("--config", type=Path)
parser.add_argument("--ports-file", type=Path)
arguments = parser.parse_args()
behaviour = arguments.config.read_text()

if behaviour == "dies":
    sys.exit("cannot load the weights")
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
server = FakeServer()
if behaviour == "never-ready":
    server.health[""] = 2
port = int(server.target.rpartition(":")[2])
arguments.ports_file.write_text(json.dumps({"grpc": port, "admin": 1}))
print("listening", flush=True)
stop.wait(60)
server.stop()
sys.exit(7 if behaviour == "bad-exit" else 0)
