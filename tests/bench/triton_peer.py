"""The peer behind a real Triton server: its dynamic batcher, a Python backend, PIL for the pictures, PyTorch for the network.

    python tests/bench/triton_peer.py --weights tiny.safetensors --grpc-port 18001

What a careful user of PyTorch would deploy: JPEG bytes in, logits out; tests/oracle/peer.py (a compiled scan) in bfloat16
autocast, batches of up to eight. Listens on the loopback interface until it is ended by SIGTERM. Needs the packages of
triton-requirements.txt on Debian's own Python, and the Debian package libpython3.11; see goodput.py.
"""
from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import peer  # noqa: E402

MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)


def pixels(jpeg: bytes) -> np.ndarray:
    """The published preprocessing: short side to 256, central 224 x 224, normalised, channels first."""
    with Image.open(io.BytesIO(jpeg)) as opened:
        picture = opened.convert("RGB")
    factor = 256 / min(picture.size)
    picture = picture.resize([round(side * factor) for side in picture.size], Image.BICUBIC)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    cropped = np.asarray(picture.crop((left, top, left + 224, top + 224)), dtype=np.float32)
    return ((cropped - MEAN) / STD).transpose(2, 0, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--variant", default="tiny")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--grpc-port", type=int, required=True)
    parser.add_argument("--http-port", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peer.install()
    network = peer.network("classification", options.variant, "cpu")
    network.load_state_dict(load_file(options.weights))

    @batch
    def classify(jpeg: np.ndarray) -> dict[str, np.ndarray]:
        x = torch.from_numpy(np.stack([pixels(one[0]) for one in jpeg]))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return {"logits": network(x).float().numpy()}

    config = TritonConfig(http_address="127.0.0.1", http_port=options.http_port, grpc_address="127.0.0.1",
                          grpc_port=options.grpc_port, allow_metrics=False)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="peer",
            infer_func=classify,
            inputs=[Tensor(name="jpeg", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="logits", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=8, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()


if __name__ == "__main__":
    main()
