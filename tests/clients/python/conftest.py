from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer
from spatial_mamba_client import Client


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.stop()


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(server.target) as connected:
        yield connected


@pytest.fixture
def dead_target() -> Iterator[str]:
    """An address at which nobody listens, kept by a socket that is bound."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def photos() -> Path:
    return Path(__file__).parents[2] / "data" / "clothing"
