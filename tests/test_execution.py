"""A session has the options that were asked for, on the provider that was asked for or none."""

from pathlib import Path

import onnxruntime
import pytest

import serving.execution
from serving.execution import (
    PROVIDERS,
    Execution,
    ProviderError,
    open_session,
    provider_options,
    session_options,
)
from stream.execution import execution_of
from stream.settings import Settings
from tests.cuda_device import HAS_DEVICE
from tests.tiny import tiny_bundle

CUDA = Execution("cuda")
CAPTURED = Execution("cuda", cuda_graphs=True)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("execution") / "bundle"
    tiny_bundle(folder, [f"item {at}" for at in range(30)])
    return folder / "model.onnx"


def test_the_provider_is_the_one_that_was_asked_for(graph: Path) -> None:
    assert open_session(graph, Execution("cpu")).get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize(("spinning", "entry"), [(False, "0"), (True, "1")])
def test_threads_and_spinning_reach_the_session(graph: Path, spinning: bool, entry: str) -> None:
    options = open_session(
        graph, Execution("cpu", threads=2, spinning=spinning)
    ).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == entry


def test_cuda_graphs_are_asked_of_cuda_alone() -> None:
    exact = {"use_tf32": "0"}
    assert provider_options(CUDA) == [("CUDAExecutionProvider", exact)]
    assert provider_options(CAPTURED) == [
        ("CUDAExecutionProvider", exact | {"enable_cuda_graph": "1"})
    ]
    assert provider_options(Execution("cpu", cuda_graphs=True)) == [("CPUExecutionProvider", {})]


@pytest.mark.skipif(HAS_DEVICE, reason="there is a CUDA device here, so that cuda starts")
def test_cuda_without_a_device_fails_and_names_the_way_out(graph: Path) -> None:
    with pytest.raises(ProviderError, match=r"--provider cpu.*NEXTCLICK_PROVIDER=cpu"):
        open_session(graph, CUDA)


class StubSession:
    """ONNX Runtime as it behaves where CUDA does not come up: it goes on on the CPU."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def get_providers(self) -> list[str]:
        return [PROVIDERS["cpu"]]


def cuda_seems_present(
    monkeypatch: pytest.MonkeyPatch, folder: Path, session: type[StubSession]
) -> None:
    """A machine with a device node and a CUDA build, whose sessions are ours."""
    (folder / "nvidiactl").touch()
    monkeypatch.setattr(serving.execution, "Path", lambda *parts: folder.joinpath(*parts[1:]))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(PROVIDERS.values()))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


def test_a_silent_fall_back_to_the_cpu_is_an_error(
    graph: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda_seems_present(monkeypatch, tmp_path, StubSession)
    with pytest.raises(ProviderError, match=r"fell back to CPUExecutionProvider.*--provider cpu"):
        open_session(graph, CUDA)


class BrokenSession(StubSession):
    """CUDA libraries that do not fit."""

    def __init__(self, *_: object, **__: object) -> None:
        raise RuntimeError("libcudnn is missing")


def test_cuda_that_does_not_start_is_an_error(
    graph: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda_seems_present(monkeypatch, tmp_path, BrokenSession)
    with pytest.raises(ProviderError, match=r"libcudnn is missing.*--provider cpu") as found:
        open_session(graph, CUDA)
    assert "CUDA_GRAPHS" not in str(found.value)


def test_a_graph_that_cannot_be_captured_names_the_setting(
    graph: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cuda_seems_present(monkeypatch, tmp_path, BrokenSession)
    with pytest.raises(ProviderError, match="NEXTCLICK_CUDA_GRAPHS=false"):
        open_session(graph, CAPTURED)


def test_a_build_without_cuda_is_an_error(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDERS["cpu"]])
    with pytest.raises(ProviderError, match=r"no CUDAExecutionProvider.*--provider cpu"):
        open_session(graph, CUDA)


def test_a_session_has_one_thread_unless_told_otherwise() -> None:
    assert session_options(Execution("cpu")).intra_op_num_threads == 1


def test_the_settings_reach_the_session() -> None:
    settings = Settings(
        provider="cpu", threads=2, spinning=True, cuda_graphs=True, precision="int8", max_batch=7,
        short_windows=False, warm_up_s=3,
    )  # fmt: skip
    assert execution_of(settings) == Execution("cpu", 2, True, True, "int8", 7, False, 3.0)


def test_by_default_a_session_is_what_the_settings_say() -> None:
    assert execution_of(Settings()) == Execution("cuda")
