"""How ONNX Runtime runs a graph: the options of a session, and a session on the provider that was
asked for or none at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import onnxruntime

from model.bundle import Precision
from serving.nearest import NearestBy

Provider: TypeAlias = Literal["cuda", "cpu"]
PROVIDERS: dict[Provider, str] = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}


class ProviderError(RuntimeError):
    """The execution provider that was asked for is not really in use."""


@dataclass(frozen=True)
class Execution:
    """What was asked for."""

    provider: Provider
    threads: int = 1
    """Of one run."""
    spinning: bool = False
    """Whether threads that wait for a run keep their cores, which decoding and Redis need."""
    cuda_graphs: bool = False
    """Whether CUDA records a run of each shape once and then starts it as one."""
    precision: Precision = "fp32"
    """Of the bundle's graphs, the one to run."""
    most_users: int = 256
    """Of a micro-batch."""
    short_windows: bool = True
    """Whether short histories are run without their padding."""
    warm_up_s: float = 20.0
    """How long shapes are run before the first event; one is in any case."""
    nearest: NearestBy = "auto"
    """Whether all items are scored or an index is searched, see ``serving.nearest``."""

    @property
    def is_captured(self) -> bool:
        """Whether runs are recorded."""
        return self.provider == "cuda" and self.cuda_graphs


def session_options(execution: Execution) -> onnxruntime.SessionOptions:
    """The options of a session.

    Memory arena and memory patterns keep their defaults: without the arena a run costs 4 to 8% more
    on a CPU; without patterns, and with denormals as zeros, the same within 3%.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = execution.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "1" if execution.spinning else "0"
    )
    options.log_severity_level = 3
    return options


def provider_options(execution: Execution) -> list[tuple[str, dict[str, str]]]:
    """The one provider of a session, with its options.

    Without ``use_tf32`` a product of float32 is one of float32, as on the CPU that judged the
    graph; who gives digits for speed has the fp16 graph, which is judged as well.
    """
    options: dict[str, str] = {}
    if execution.provider == "cuda":
        options["use_tf32"] = "0"
        if execution.is_captured:
            options["enable_cuda_graph"] = "1"
    return [(PROVIDERS[execution.provider], options)]


def open_session(graph: Path, execution: Execution) -> onnxruntime.InferenceSession:
    """A session that runs ``graph`` and never changes its provider.

    Raises:
        ProviderError: the provider is not in use; ONNX Runtime itself would go on on the CPU.
    """
    if execution.provider == "cuda":
        return _cuda_session(graph, execution)
    return _session(graph, execution)


def _session(graph: Path, execution: Execution) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        graph, session_options(execution), providers=provider_options(execution)
    )


def _cuda_session(graph: Path, execution: Execution) -> onnxruntime.InferenceSession:
    advice = (
        "install an NVIDIA driver for a GPU, or ask for the CPU with `--provider cpu` "
        "(NEXTCLICK_PROVIDER=cpu)"
    )
    if execution.is_captured:
        advice += "; a graph that cannot be captured runs with NEXTCLICK_CUDA_GRAPHS=false"
    name = PROVIDERS["cuda"]
    if name not in onnxruntime.get_available_providers():
        raise ProviderError(f"this onnxruntime has no {name}; {advice}")
    if not any(Path("/dev", node).exists() for node in ("nvidiactl", "dxg", "nvhost-ctrl")):
        raise ProviderError(f"no CUDA device on this machine; {advice}")
    # Finds the CUDA and cuDNN libraries of the nvidia wheels, where those are installed.
    onnxruntime.preload_dlls()
    try:
        session = _session(graph, execution)
    except Exception as error:  # ONNX Runtime's own types are not public
        raise ProviderError(f"{name} does not start ({error}); {advice}") from error
    if session.get_providers()[0] != name:
        raise ProviderError(f"ONNX Runtime fell back to {session.get_providers()[0]}; {advice}")
    return session
