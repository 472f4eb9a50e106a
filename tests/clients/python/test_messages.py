from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2

TOP = Path(__file__).parents[3]


def test_packaged_descriptors_equal_the_proto_files(tmp_path: Path) -> None:
    compiled = tmp_path / "descriptors.bin"
    subprocess.run([TOP / "clients/python/make-descriptors.sh", compiled], check=True, timeout=60)
    current = descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
    packaged = descriptor_pb2.FileDescriptorSet.FromString(
        resources.files("spatial_mamba_client").joinpath("_descriptors.bin").read_bytes()
    )
    assert packaged == current, "run clients/python/make-descriptors.sh"


def test_messages_do_not_enter_the_default_pool() -> None:
    script = (
        "import spatial_mamba_client.messages\n"
        "from google.protobuf import descriptor_pool\n"
        "try:\n"
        "    descriptor_pool.Default().FindFileByName('google/rpc/status.proto')\n"
        "except KeyError:\n"
        "    print('absent')\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stdout == "absent\n", result.stderr
