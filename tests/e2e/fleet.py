"""Three servers, a load balancer that knows gRPC in front of them, and callers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
from spatial_mamba_client import messages

TOP = Path(__file__).resolve().parents[2]
DEPS = Path(os.environ.get("SPATIALMAMBA_DEPS", Path.home() / ".cache/spatial-mamba"))
HAPROXY = shutil.which("haproxy", path=f"{DEPS}/tools/bin:{os.environ['PATH']}")
PICTURE = (TOP / "tests/data/clothing/hat-1.jpg").read_bytes()
METHOD = "/spatialmamba.v1.VisionService/Classify"
# What our clients do, and looking at the health of each address.
RETRIES = {"methodConfig": [{"name": [{"service": "spatialmamba.v1.VisionService"}], "retryPolicy": {
    "maxAttempts": 5, "initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]}}]}
ROUND_ROBIN = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}

CONFIG = """
models: [{{name: clothing, weights: {top}/deploy/models/clothing.safetensors}}]
drain: {{delay: 1s}}
threads: 1
decode_threads: 1
"""
# A pod that is told to end is not ready at once and accepts for a second more: checks notice it five times in that second.
BALANCER = """
defaults
  mode http
  timeout connect 2s
  timeout client 1m
  timeout server 1m
  option redispatch 1
frontend grpc
  bind 127.0.0.1:{port} proto h2
  default_backend servers
backend servers
  balance leastconn
  option httpchk
  http-check connect default proto h1
  http-check send meth GET uri /readyz
  default-server proto h2 check inter 200ms fall 1 rise 1
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


class Server:
    """One of them, always at the same ports."""

    def __init__(self, binary: Path, folder: Path, grpc_port: int, admin_port: int) -> None:
        self.binary, self.folder, self.grpc_port, self.admin_port = binary, folder, grpc_port, admin_port
        (folder / "config.yaml").write_text(CONFIG.format(top=TOP))
        self.ports = folder / f"{grpc_port}.json"
        self.start()

    def start(self) -> None:
        self.ports.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [self.binary, "--config", self.folder / "config.yaml", "--ports-file", self.ports,
             "--set", f"listen=127.0.0.1:{self.grpc_port}", "--set", f"admin=127.0.0.1:{self.admin_port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 120
        while not self.ports.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("a server did not become ready")
            time.sleep(0.05)

    def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


class Callers:
    """Threads that call without a pause, in a `with` statement; `codes` counts what their calls ended with."""

    def __init__(self, target: str, service_config: dict[str, object], count: int) -> None:
        options = [("grpc.service_config", json.dumps(service_config)), ("grpc.enable_http_proxy", 0),
                   ("grpc.enable_retries", int("methodConfig" in service_config)), ("grpc.use_local_subchannel_pool", 1),
                   ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 500)]
        self.count, self.codes, self.lock, self.stopping = count, Counter[str](), threading.Lock(), threading.Event()
        self.channels = [grpc.insecure_channel(target, options=options) for _ in range(count)]
        self.threads = [threading.Thread(target=self.call, args=(channel,)) for channel in self.channels]

    def call(self, channel: grpc.Channel) -> None:
        classify = channel.unary_unary(METHOD, messages.ClassifyRequest.SerializeToString,
                                       messages.ClassifyResponse.FromString)
        request = messages.ClassifyRequest(images=[messages.Image(encoded=PICTURE)])
        while not self.stopping.is_set():
            try:
                classify(request, timeout=30)
                outcome = "OK"
            except grpc.RpcError as error:
                outcome = f"{error.code().name}: {error.details()}"
            with self.lock:
                self.codes[outcome] += 1

    def failed(self) -> dict[str, int]:
        with self.lock:
            return {code: count for code, count in self.codes.items() if code != "OK"}

    def wait_for_more(self, answers: int) -> None:
        wanted, deadline = self.codes["OK"] + answers, time.monotonic() + 120
        while self.codes["OK"] < wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"calls are not answered: {self.codes}")
            time.sleep(0.05)

    def __enter__(self) -> Callers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        for channel in self.channels:
            channel.close()


@contextmanager
def fleet(binary: Path, folder: Path, count: int = 3) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        servers = []
        ports = free_ports(2 * count)
        for i in range(count):
            servers.append(Server(binary, folder, *ports[2 * i : 2 * i + 2]))
            stack.callback(lambda server=servers[-1]: (server.process.kill(), server.process.wait()))
        for server in servers:
            server.wait_ready()
        yield servers


def wait_listening(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=10).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def balancer(servers: list[Server], folder: Path) -> Iterator[str]:
    """Its address."""
    port = free_ports(1)[0]
    lines = [f"  server s{i} 127.0.0.1:{server.grpc_port} port {server.admin_port}\n" for i, server in enumerate(servers)]
    (folder / "haproxy.cfg").write_text(BALANCER.format(port=port) + "".join(lines))
    process = subprocess.Popen([str(HAPROXY), "-f", folder / "haproxy.cfg"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    try:
        wait_listening(port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)
