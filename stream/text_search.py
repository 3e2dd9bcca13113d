"""The search index that settings ask for, empty."""

from pathlib import Path

from model.text_encoder import open_text_encoder
from serving.meaning_search import MeaningSearch
from serving.search import SearchIndex
from serving.vector_cache import VectorCache


def search_index(encoder_choice: str, cache: Path) -> SearchIndex:
    """An empty index.

    Args:
        encoder_choice: as in the setting ``text_encoder``.
        cache: folder for what the encoder makes.

    Raises:
        model.text_encoder.TextEncoderError: the encoder cannot be had.
        serving.vector_cache.VectorCacheError: the folder cannot be used.
    """
    encoder = open_text_encoder(encoder_choice)
    if encoder is None:
        return SearchIndex()
    if encoder.is_quick:
        return SearchIndex(MeaningSearch(encoder))
    kept = VectorCache(cache, encoder.identity, encoder.dimensions)
    return SearchIndex(MeaningSearch(encoder, kept))
