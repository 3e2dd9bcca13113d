"""The pinned network that benchmarks of speed run, and its bundle.

    python -m benchmarks.pinned FOLDER [--items 12102] [--length 50]

It is untrained (2 blocks, d = 64) and the same every time, so that figures of different days can be
compared. Its bundle is made once for each state of the code that makes it, in a process of its own:
only that one loads torch.
"""

import argparse
import shutil
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

from benchmarks.made_up import ITEM_COUNT, LENGTH, item_ids

ROOT = Path(__file__).parent.parent
CACHE = ROOT / ".nextclick/pinned"
TOP_K, DIM, BLOCKS = 100, 64, 2
SEED = 0


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
        command = [sys.executable, "-m", "benchmarks.pinned", str(folder)]
        command += [f"--items={items}", f"--length={length}"]
        subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=True)
    return folder


def main() -> None:
    """Make one bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=ITEM_COUNT)
    parser.add_argument("--length", type=int, default=LENGTH)
    asked = parser.parse_args()
    from tests.tiny import tiny_bundle  # with torch

    tiny_bundle(
        asked.folder, item_ids(asked.items), length=asked.length, top_k=TOP_K, dim=DIM,
        blocks=BLOCKS, seed=SEED,
    )  # fmt: skip


if __name__ == "__main__":
    main()
