"""The pinned network that benchmarks of speed run, and its bundle.

    python -m benchmarks.pinned FOLDER [--items 12102] [--length 50]

It is untrained (2 blocks, d = 64) and the same every time, so that figures of different days can be
compared. Its bundle is made once for each state of the code that makes it, in a process of its own:
only that one loads torch.

A catalogue that is large enough for an index gets item vectors with the structure that trained ones
have, for random ones have no neighbours to find: a centre for each ``4 * sqrt(items)``, of which a
vector has .8 and .6 of its own, and states that stay near the newest item. They are about as hard
to find as trained ones: with 42 thousand items, 16 of 820 lists hold .83 of the nearest 100 and 64
hold .97; of a network that was trained on as many items of a shop (diginetica, 4 epochs) it was .88
and .95. Of random vectors 90 of 1,265 lists hold no more than .46.
"""

import argparse
import shutil
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.made_up import ITEM_COUNT, LENGTH, item_ids
from model.features import FIRST_ITEM
from model.index_gate import is_wanted

if TYPE_CHECKING:
    from model.network import Network

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".nextclick/pinned"
TOP_K, DIM, BLOCKS = 100, 64, 2
SEED = 0
CENTRE, OWN = 0.8, 0.6
CALM = 0.3
"""What kinds, pauses and blocks add to a state, beside an untrained network's."""
USERS = 256
"""To choose how many lists are read."""


def pinned_bundle(items: int = ITEM_COUNT, length: int = LENGTH) -> Path:
    """The folder of the bundle, made now if it is not there.

    Raises:
        subprocess.CalledProcessError: it could not be made; the reason stands on standard error.
    """
    makers = [*sorted((ROOT / "model").glob("*.py")), ROOT / "tests/tiny.py", Path(__file__)]
    made_by = blake2b(b"".join(path.read_bytes() for path in makers), digest_size=6).hexdigest()
    folder = CACHE / f"{items}-{length}-{made_by}"
    if not folder.exists():
        for outdated in CACHE.glob(f"{items}-{length}-*"):
            shutil.rmtree(outdated)
        CACHE.mkdir(parents=True, exist_ok=True)
        # A bundle is there when it is whole: two processes may want it at once.
        with TemporaryDirectory(dir=CACHE, prefix="making-") as making:
            made = Path(making) / folder.name
            command = [sys.executable, "-m", "benchmarks.pinned", str(made)]
            command += [f"--items={items}", f"--length={length}"]
            subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=True)
            try:
                made.rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return folder


def main() -> None:
    """Make one bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--length", type=int, default=LENGTH)
    asked = parser.parse_args()
    from tests.tiny import tiny_bundle  # with torch

    large = is_wanted("auto", asked.items)
    tiny_bundle(
        asked.folder, item_ids(asked.items), length=asked.length, top_k=TOP_K, dim=DIM,
        blocks=BLOCKS, seed=SEED, index=large, shaped=shape if large else None,
        users=USERS if large else 16,
    )  # fmt: skip


def shape(network: "Network") -> None:
    """Give a network item vectors in groups, and states near the newest item's."""
    import torch

    chance = np.random.default_rng(SEED)
    items, dim = len(network.item_table.weight) - FIRST_ITEM, network.config.dim
    centres = chance.standard_normal((round(4 * items**0.5), dim), np.float32)
    vectors = CENTRE * centres[chance.integers(0, len(centres), items)]
    vectors += OWN * chance.standard_normal((items, dim), np.float32)
    with torch.no_grad():
        network.item_table.weight[FIRST_ITEM:] = torch.from_numpy(vectors / dim**0.5)
        for name, each in network.named_parameters():
            if name.startswith(("kind_table", "gap_table")) or "merge" in name or "narrow" in name:
                each.mul_(CALM)


if __name__ == "__main__":
    main()
