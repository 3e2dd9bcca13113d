"""What came of lists so far, read from the shared counts: for the metrics, and for exploration."""

import numpy as np
from numpy.typing import NDArray

from serving import metrics
from serving.catalog import Catalog
from serving.counts import Counts, Neighbours
from serving.exploration import NO_LOOKS, NO_RATE, Looks, Rate
from serving.exposure import ResponseCells, item_cells, response_cells
from serving.feedback import KINDS, MOST_SHOWN
from serving.position_bias import propensities
from serving.recommendation import SOURCE_BIT


async def read_looks(
    counts: Counts, catalog: Catalog, bundle: str, unit: float, *, of_items: bool = True
) -> tuple[Looks, Rate]:
    """Read what came of lists, and show it in the metrics.

    Args:
        counts: of all workers.
        catalog: whose rows the items are.
        bundle: version of the bundle whose lists the metrics tell of.
        unit: forward-decayed weight of an event of this moment.
        of_items: whether to read what came of items, by which exploration alone goes.

    Returns:
        Looks and clicks of items, and of all of them together.
    """
    items, told = await counts.looks(bundle, of_items=of_items)
    cells = response_cells(told.items, told.weights / unit)
    worth = propensities(cells)
    show_responses(bundle, cells, worth)
    if not of_items:
        return NO_LOOKS, NO_RATE
    shown, clicked = items
    looks = looks_of(catalog, shown, clicked, worth, unit)
    return looks, (float(looks.clicks.sum()), float(looks.looks.sum()))


def looks_of(
    catalog: Catalog,
    shown: Neighbours,
    clicked: Neighbours,
    worth: NDArray[np.float64],
    unit: float,
) -> Looks:
    """Of each item that was shown or clicked: looks, each impression for what its position is
    worth, and clicks."""
    seen, taken = (item_cells(each.items, each.weights / unit) for each in (shown, clicked))
    items, which = np.unique(np.concatenate([seen.items, taken.items]), return_inverse=True)
    looks = np.concatenate([seen.weights * worth[seen.positions], np.zeros(len(taken.items))])
    clicks = np.concatenate([np.zeros(len(seen.items)), taken.weights])
    rows = catalog.rows_of_hashes(items)
    here = rows >= 0
    seen_of, taken_of = (
        np.bincount(which, each, len(items)).astype(np.float64)[here] for each in (looks, clicks)
    )
    return Looks(rows[here], seen_of, taken_of)


def show_responses(bundle: str, cells: ResponseCells, worth: NDArray[np.float64]) -> None:
    """Set the gauges of a bundle: by source and position what shown items led to."""
    for source, bit in SOURCE_BIT.items():
        here = (cells.sources & bit) > 0
        kinds, positions = cells.kinds[here], np.minimum(cells.positions[here], MOST_SHOWN)
        total = np.zeros((len(KINDS), MOST_SHOWN + 1))
        np.add.at(total, (kinds, positions), cells.weights[here])
        for at in np.flatnonzero(total[0]).tolist():
            for kind in range(1, len(KINDS)):
                share = total[kind, at] / total[0, at]
                metrics.RESPONSE_SHARE.labels(KINDS[kind], source, str(at), bundle).set(share)
        if looks := float((total[0] * worth[: MOST_SHOWN + 1]).sum()):
            metrics.CLICK_THROUGH.labels(source, bundle).set(total[1].sum() / looks)
