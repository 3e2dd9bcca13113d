"""Whether this machine has a CUDA device, for tests that need one, or need none."""

from pathlib import Path

import onnxruntime

HAS_DEVICE = "CUDAExecutionProvider" in onnxruntime.get_available_providers() and any(
    Path("/dev", node).exists() for node in ("nvidiactl", "dxg", "nvhost-ctrl")
)
