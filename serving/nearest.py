"""How a worker finds the items nearest to a user: all of them scored, or the bundle's index."""

import logging
from typing import Literal, TypeAlias

from model.bundle import Bundle, BundleError, Precision
from model.item_index import ItemIndex

logger = logging.getLogger(__name__)

NearestBy: TypeAlias = Literal["auto", "exact", "index"]
"""All are scored, an index is searched, or that on a CPU if the bundle has one."""


def chosen_index(
    bundle: Bundle, nearest: NearestBy, *, provider: str, precision: Precision, threads: int
) -> ItemIndex | None:
    """The index to search, or None where all items are to be scored; says which in the log.

    A GPU scores a million items as fast as it finds them, and the smaller graphs have no states
    of full precision: there all are scored.

    Args:
        bundle: may have an index.
        nearest: what was asked for.
        provider: ``cpu`` or ``cuda``.
        precision: of the graph.
        threads: of a search.

    Raises:
        model.bundle.BundleError: an index was asked for, and the bundle has none; or it is one
            that cannot be read here.
        ValueError: an index was asked for together with a GPU or a smaller graph.
    """
    fits = provider == "cpu" and precision == "fp32"
    if nearest == "index" and not fits:
        raise ValueError(f"an index goes with cpu and fp32, not with {provider} and {precision}")
    if nearest == "exact" or (nearest == "auto" and not (fits and bundle.has_index)):
        logger.info("nearest items: all %d are scored", len(bundle.vocabulary.ids))
        return None
    files = bundle.index_files()
    try:
        index = ItemIndex.read(files, threads=threads)
    except (RuntimeError, ValueError) as error:  # faiss has no types of its own
        raise BundleError(
            f"the index in {bundle.path} cannot be read ({error}); check the version of faiss-cpu "
            "against constraints.txt, or have all items scored (NEXTCLICK_NEAREST=exact)"
        ) from error
    logger.info(
        "nearest items: an index of %d items, %d of %d lists are read",
        len(bundle.vocabulary.ids), index.probed, index.lists,
    )  # fmt: skip
    return index
