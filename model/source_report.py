"""What a manifest says of how the quotas of its sources were chosen."""

import msgspec

from model.fresh_score import FreshWeights


class QuotaTrial(msgspec.Struct, frozen=True, kw_only=True):
    """Lists of the validation baskets under some quotas."""

    in_category: int
    fresh: int
    candidates: float
    """Per list."""
    ndcg: float
    """NDCG@10 of the blended lists, by the weights that are best without these sources."""
    ndcg_gain: float
    """Over both quotas at 0: the mean of the differences, basket by basket."""
    ndcg_error: float
    """Standard error of that mean."""
    new_recall: float | None
    """Share of a basket's new items among the first 50; None where no basket holds any."""
    new_gain: float | None
    new_error: float | None


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """How quotas, and the order of new items, were chosen on the validation baskets."""

    rule: str
    baskets: int
    baskets_with_new: int
    """Those that hold items first known in the validation days."""
    trials: list[QuotaTrial]
    new_place_lost: float
    """Share of the NDCG@10 that lists lose by one place for an item that is tried at random."""
    fresh_baskets: int
    """Those that the weights of new items were learned from."""
    fresh_taken: int
    """Little known items in these; where they are few, the default weights stand."""
    fresh_learned: FreshWeights
    """The weights by these, which serve where they find more new items than the defaults, see
    ``model.fresh_choices``."""
    fresh_recall: float
    """Of new items among themselves, the share of a basket's that these put first, of 50."""
    fresh_recall_by_default: float
