"""The readable reference networks under tests/oracle, so that a weight means the same when it is
trained as when it is served."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "oracle"))
import mask_rcnn  # noqa: E402
import preprocess  # noqa: E402
import resampling  # noqa: E402
import spatial_mamba  # noqa: E402
import upernet  # noqa: E402

__all__ = ["mask_rcnn", "preprocess", "resampling", "spatial_mamba", "upernet"]
