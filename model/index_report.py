"""What a manifest says of the index of the items."""

import msgspec


class IndexReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an index of the items takes and gives, measured when the bundle was made."""

    bytes: int
    """Of its three files."""
    lists: int
    probed: int
    """Lists that a search reads."""
    top_k: int
    recall: float
    """Share of the exact ``top_k`` nearest items that it finds, of real users."""
    milliseconds: dict[str, float]
    """Processor time of a run on one CPU thread, by users in the run."""
    exact_milliseconds: dict[str, float]
    """The same of the full graph."""
    ndcg: float
    """NDCG@10 of the blended lists on a sample of the validation baskets."""
    ndcg_lost: float
    """Share of that with the exact nearest items; below zero where it gained."""
    admitted: bool
    """Whether the bundle holds the index: a refused one stands here with its figures alone."""
