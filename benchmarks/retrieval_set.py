"""What contenders of the retrieval benchmark search: vectors, users, the exact answers, an index.

    python -m benchmarks.retrieval_set FOLDER --items N

Made once for each state of the code that makes it, as ``benchmarks.pinned`` is.
"""

import argparse
import shutil
import subprocess
import sys
import time
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up_vectors import made_up_states, made_up_vectors
from model.features import FIRST_ITEM
from model.index_lists import make_lists
from model.item_index import IndexFiles, ItemIndex
from model.nearest import Nearest, recall

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".nextclick/retrieval"
MAKERS = (
    "model/index_gate.py", "model/index_lists.py", "model/item_index.py", "model/nearest.py",
)  # fmt: skip
TOP = 100
USERS, OTHERS = 1000, 500
"""Who are searched for, and those on whom it is chosen how many lists are read."""
PART = 50
"""Users whose products with all items are in memory at once."""


class RetrievalSet(NamedTuple):
    """Read from a folder."""

    files: IndexFiles
    """Without a graph."""
    states: NDArray[np.float32]
    """[USERS, D + 1]"""
    nearest: NDArray[np.int64]
    """[USERS, TOP], exact."""
    made_in_s: float
    """The index: processor time of all cores."""


def retrieval_set(items: int) -> Path:
    """The folder of so many items, made now if it is not there.

    Raises:
        subprocess.CalledProcessError: it could not be made; the reason stands on standard error.
    """
    makers = [ROOT / name for name in MAKERS]
    makers += [Path(__file__), ROOT / "benchmarks/made_up_vectors.py"]
    made_by = blake2b(b"".join(path.read_bytes() for path in makers), digest_size=6).hexdigest()
    folder = CACHE / f"{items}-{made_by}"
    if not folder.exists():
        for outdated in CACHE.glob(f"{items}-*"):
            shutil.rmtree(outdated)
        command = [sys.executable, "-m", "benchmarks.retrieval_set", str(folder)]
        subprocess.run([*command, f"--items={items}"], cwd=ROOT, stdout=sys.stderr, check=True)
    return folder


def read_set(folder: Path) -> RetrievalSet:
    """What ``retrieval_set`` has made."""
    return RetrievalSet(
        IndexFiles(folder / "none", folder / "items.npy", folder / "items.faiss"),
        np.load(folder / "states.npy"),
        np.load(folder / "nearest.npy"),
        float((folder / "made_in_s").read_text()),
    )


def exact_nearest(
    vectors: NDArray[np.float32],
    states: NDArray[np.float32],
    item_bias: NDArray[np.float32],
    count: int = TOP,
) -> NDArray[np.int64]:
    """Rows of the best items by the product with all of them, int64 [B, count], in no order."""
    never = item_bias.copy()
    never[:FIRST_ITEM] = -1e9
    found = []
    for start in range(0, len(states), PART):
        scores = states[start : start + PART] @ vectors.T + never
        found.append(np.argpartition(-scores, count - 1, axis=1)[:, :count])
    return np.concatenate(found)


def main() -> None:
    """Make one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, required=True)
    asked = parser.parse_args()
    from model.index_gate import read_enough  # with onnx

    vectors = made_up_vectors(asked.items)
    no_bias = np.zeros(len(vectors), np.float32)
    states = made_up_states(vectors, USERS, seed=1)
    others = made_up_states(vectors, OTHERS, seed=2)
    top = min(TOP, asked.items)
    nearest, of_others = (exact_nearest(vectors, each, no_bias, top) for each in (states, others))
    begun = time.process_time()
    index = ItemIndex(make_lists(vectors, others), vectors, threads=1)
    made_in_s = time.process_time() - begun

    def found() -> Nearest:
        return index.nearest(others, no_bias, top)

    read_enough(index, lambda: recall(found().rows, of_others))
    staged = asked.folder.with_suffix(".part")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    np.save(staged / "items.npy", vectors)
    np.save(staged / "states.npy", states)
    np.save(staged / "nearest.npy", nearest)
    index.write(staged / "items.faiss")
    (staged / "made_in_s").write_text(str(round(made_in_s, 1)))
    staged.rename(asked.folder)


if __name__ == "__main__":
    main()
