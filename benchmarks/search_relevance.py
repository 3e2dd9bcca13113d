"""How good searches are: by words, by meaning and by both, on graded queries.

    python -m benchmarks.search_relevance --json

Two sets: known-item queries generated from Online Retail's titles (``benchmarks.search_queries``)
and the Chinese shop of ``benchmarks/data/chinese_shop``, graded by hand. Each is judged with each
encoder that is named, on the test part; settings were chosen on the other half of the queries.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.search_queries import QUERIES, SEED, write_known_items
from stream.search_evaluation import assess_search, search_figures, search_sheet
from stream.search_folder import read_search_folder
from stream.text_search import search_index

CHINESE_SHOP = Path(__file__).parent / "data" / "chinese_shop"
KNOWN_ITEMS = "known items (generated)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one JSON object, or a table of each set and encoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/online_retail"))
    parser.add_argument("--encoders", nargs="+", default=["static", "e5"], metavar="ENCODER")
    parser.add_argument("--queries", type=int, default=QUERIES, help="generated ones")
    parser.add_argument("--seed", type=int, default=0, help="of the intervals")
    parser.add_argument("--cache", type=Path, default=Path(".nextclick/text-vectors"))
    parser.add_argument("--json", action="store_true", dest="as_json")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        known = Path(made) / "known-items"
        write_known_items(asked.data, known, asked.queries, SEED)
        sets = {KNOWN_ITEMS: known, "Chinese shop": CHINESE_SHOP}
        found: list[dict[str, Any]] = []
        for name, folder in sets.items():
            for encoder in asked.encoders:
                judged = assess_search(
                    read_search_folder(folder),
                    search_index(encoder, asked.cache),
                    seed=asked.seed,
                    progress=lambda text, share: None,
                )
                found.append({"set": name, **search_figures(judged)})
                if not asked.as_json:
                    sheet = search_sheet(judged)
                    title = f"{name}: {sheet.title}"
                    sys.stdout.write(sheet._replace(title=title).markdown() + "\n\n")
    if asked.as_json:
        arguments_used = {"queries": asked.queries, "made_with_seed": SEED, "seed": asked.seed}
        sys.stdout.write(json.dumps({**arguments_used, "sets": found}) + "\n")


if __name__ == "__main__":
    main()
