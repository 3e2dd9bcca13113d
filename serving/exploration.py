"""Which new and little shown items are tried: Thompson sampling on impressions and clicks.

Of each arm, an item, the click-through is believed to be Beta(1 + clicks, prior + looks - clicks)
distributed; a list takes the items of which a draw from these beliefs comes out highest (Thompson,
1933; Chapelle & Li, "An Empirical Evaluation of Thompson Sampling", 2011). Clicks and impressions
are decayed by event time. An impression counts as the share of a look that its position gets
(``serving.position_bias``). The prior has the mean click-through of all lists.

Joint draws are made once, when the counts are read, and a list takes one of them by its name: that
costs a list nothing, and a list that is made again gets the same items.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serving.catalog import Catalog

DRAWS = 256
"""What a list can do is known in steps of as many parts."""
ARMS = 256
NEW_ARMS = 64
"""Items that came into the catalogue since the counts were read, at once; the newest ones."""
SPARE = 4
"""Picks that are held for each place, for some may be sold out by then."""
TRIED = 200.0
"""Looks, after which an item has earned its traffic or has not."""
TAIL_EVENTS = 20.0
"""Decayed events of an item that is no longer new and does not belong to the tail."""
DEFAULT_RATE = 0.05
"""Click-through where nothing has been shown yet; weighs as much as a few dozen looks."""
DEFAULT_LOOKS = 20.0
LONGEST_PRIOR = 200.0
SEED = 20_110


class Looks(NamedTuple):
    """How often items were looked at and clicked, decayed; three arrays [N]."""

    rows: NDArray[np.int64]
    """Of the catalogue, distinct, none -1."""
    looks: NDArray[np.float64]
    clicks: NDArray[np.float64]


Rate: TypeAlias = tuple[float, float]
"""Clicks and looks of all lists, decayed."""

NO_LOOKS = Looks(np.empty(0, np.int64), np.empty(0), np.empty(0))
NO_RATE: Rate = (0.0, 0.0)


class Exploration:
    """The arms, and draws of what they may be worth.

    Args:
        catalog: whose items are tried.
        most: places of a list.
    """

    def __init__(self, catalog: Catalog, most: int) -> None:
        self._catalog = catalog
        self._held = SPARE * most
        self._chance = np.random.default_rng(SEED)
        self._prior = _prior(0.0, 0.0)
        self._known_rows = self._chosen_arms = 0
        self._arms = np.empty(0, np.int64)
        self._worth = np.empty((DRAWS, 0))
        self._best = np.empty((DRAWS, 0), np.int64)

    def refresh(self, looks: Looks, events: NDArray[np.float64], rate: Rate) -> None:
        """Choose the arms and draw anew.

        Args:
            looks: of the items that were shown.
            events: decayed events of every row of the catalogue, float64 [rows].
            rate: clicks and looks of all lists, decayed.
        """
        self._chance = np.random.default_rng(SEED)
        self._prior = _prior(*rate)
        rows = len(events)
        shown, clicks = np.zeros(rows), np.zeros(rows)
        here = looks.rows < rows
        shown[looks.rows[here]], clicks[looks.rows[here]] = looks.looks[here], looks.clicks[here]
        open_ = self._catalog.usable(np.arange(rows)) & (events < TAIL_EVENTS) & (shown < TRIED)
        arms = self._chosen(np.flatnonzero(open_), shown, clicks)
        self._known_rows, self._arms, self._chosen_arms = rows, arms, len(arms)
        self._worth = self._drawn(clicks[arms], shown[arms])
        self._order()

    def picks(
        self, draws: NDArray[np.int64], most: int, current: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Rows to try in each of L lists, best first, int64 [L, most]; -1 for none.

        Args:
            draws: a number of each list, int64 [L].
            most: for a list.
            current: the row of what each user looks at, int64 [L], which is no help.
        """
        self._notice()
        best = self._best[draws % DRAWS]
        usable = self._catalog.usable(best)
        if current is not None:
            usable &= best != current[:, None]
        standing = np.cumsum(usable, axis=1)
        picked = np.full((len(draws), most), -1, np.int64)
        lists, places = np.nonzero(usable & (standing <= most))
        picked[lists, standing[lists, places] - 1] = best[lists, places]
        return picked

    def _chosen(
        self, rows: NDArray[np.int64], shown: NDArray[np.float64], clicks: NDArray[np.float64]
    ) -> NDArray[np.int64]:
        """Half of the arms are the most promising ones that were tried, a quarter the newest ones
        that were not, and what is left is any others."""
        is_tried = shown[rows] > 0
        tried, untried = rows[is_tried], rows[~is_tried]
        alpha, beta = self._belief(clicks[tried], shown[tried])
        mean = alpha / (alpha + beta)
        spread = np.sqrt(mean * (1 - mean) / (alpha + beta + 1))
        promising = tried[np.argsort(-(mean + spread), kind="stable")[: ARMS // 2]]
        newest = untried[-ARMS // 4 :]
        others = untried[: -ARMS // 4]
        count = min(ARMS - len(promising) - len(newest), len(others))
        return np.concatenate(
            [promising, newest, self._chance.choice(others, count, replace=False)]
        )

    def _notice(self) -> None:
        """What has come into the catalogue meanwhile is an arm at once."""
        rows = len(self._catalog.items)
        if rows == self._known_rows:
            return
        new = np.arange(max(self._known_rows, rows - NEW_ARMS), rows)
        self._known_rows = rows
        nothing = np.zeros(len(new))
        arms = np.concatenate([self._arms, new])
        worth = np.concatenate([self._worth, self._drawn(nothing, nothing)], axis=1)
        # A flood of items takes no more room than a few: the newest stay until the next reading.
        kept = np.arange(len(arms))
        kept = kept[(kept < self._chosen_arms) | (kept >= len(arms) - NEW_ARMS)]
        self._arms, self._worth = arms[kept], worth[:, kept]
        self._order()

    def _belief(
        self, clicks: NDArray[np.float64], looks: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Both parameters of the Beta distribution of each arm."""
        alpha, beta = self._prior
        return alpha + clicks, beta + np.maximum(looks - clicks, 0.0)

    def _drawn(
        self, clicks: NDArray[np.float64], looks: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        alpha, beta = self._belief(clicks, looks)
        return self._chance.beta(alpha, beta, (DRAWS, len(alpha)))

    def _order(self) -> None:
        held = min(self._held, len(self._arms))
        if held < len(self._arms):
            places = np.argpartition(-self._worth, held - 1, axis=1)[:, :held]
        else:
            places = np.tile(np.arange(held), (DRAWS, 1))
        order = np.argsort(-np.take_along_axis(self._worth, places, axis=1), axis=1, kind="stable")
        self._best = self._arms[np.take_along_axis(places, order, axis=1)]


def _prior(clicks: float, looks: float) -> tuple[float, float]:
    """Beta(1, b) of the mean click-through: one click's worth of belief."""
    rate = (clicks + DEFAULT_RATE * DEFAULT_LOOKS) / (looks + DEFAULT_LOOKS)
    return 1.0, float(np.clip(1 / max(rate, 1e-9), 2.0, LONGEST_PRIOR)) - 1.0
