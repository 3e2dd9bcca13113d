"""The CUDA path gives the CPU's answers: skipped aloud where there is no device."""

import numpy as np
import pytest

from model.bundle import Bundle, load_bundle, write_bundle
from model.events import INTERACTION_KINDS, Click
from model.features import Interactions
from model.variants import convert
from serving.catalog import NEVER
from serving.execution import Execution
from serving.ranker import Ranker, Scores
from serving.timed_ranker import TimedRanker
from tests.cuda_device import HAS_DEVICE
from tests.tiny import tiny_bundle

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not HAS_DEVICE, reason="needs a CUDA device; none is on this machine"),
]

ITEMS = [f"item {at}" for at in range(300)]
SIZE = 2 + len(ITEMS)
CPU = Execution("cpu")
CUDA = Execution("cuda", most_users=32)
CAPTURED = Execution("cuda", most_users=32, cuda_graphs=True)
HALF = Execution("cuda", most_users=32, precision="fp16")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("cuda")
    tiny_bundle(folder / "whole", ITEMS, length=50, top_k=100, dim=64, blocks=2)
    whole = load_bundle(folder / "whole")
    convert(whole.model_path, folder / "fp16.onnx", "fp16")
    write_bundle(
        folder / "bundle", whole.model_path, ITEMS, whole.manifest, {"fp16": folder / "fp16.onnx"}
    )
    return load_bundle(folder / "bundle")


def ranked(ranker: Ranker, bundle: Bundle, users: int, width: int, seed: int) -> Scores:
    """Scores of made-up users, some without a past; half of the items barred."""
    chance = np.random.default_rng(seed)
    histories = [
        Interactions(
            chance.choice(bundle.vocabulary.hashes, count),
            np.full(count, INTERACTION_KINDS[Click], np.uint8),
            np.cumsum(chance.integers(1000, 86_400_000, count)),
        )
        for count in chance.integers(0, 60, users)
    ]
    bias = np.where(np.arange(SIZE) % 2, NEVER, 0).astype(np.float32)
    return ranker.rank(histories, chance.integers(2, SIZE, (users, width)), bias, None, seed)


@pytest.mark.parametrize(
    ("execution", "tolerance"),
    [(CUDA, 1e-3), (CAPTURED, 1e-3), (HALF, 5e-2)],
    ids=["cuda", "captured", "fp16"],
)
@pytest.mark.parametrize("timed", [False, True], ids=["plain", "timed"])
def test_cuda_scores_as_the_cpu_does(
    bundle: Bundle, execution: Execution, tolerance: float, timed: bool
) -> None:
    ranker = TimedRanker(bundle, execution, timeout_s=60) if timed else Ranker(bundle, execution)
    assert ranker.provider == "CUDAExecutionProvider"
    judge = Ranker(bundle, CPU)
    # Up and down, so that what is played back has seen other shapes between; 40 are too many.
    for seed, (users, width) in enumerate([(1, 5), (32, 70), (3, 5), (40, 5), (1, 600), (1, 5)]):
        ours, theirs = (ranked(each, bundle, users, width, seed) for each in (ranker, judge))
        for name in ("candidate_scores", "top_scores"):
            one, other = getattr(ours, name), getattr(theirs, name)
            assert one.shape == other.shape
            assert np.allclose(one, other, atol=tolerance)
        assert (ours.top_rows % 2 == 0).all(), "no barred item"
