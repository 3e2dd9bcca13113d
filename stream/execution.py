"""How the settings want the model run."""

from serving.execution import Execution
from stream.settings import Settings


def execution_of(settings: Settings) -> Execution:
    """What a ranker takes."""
    return Execution(
        provider=settings.provider,
        threads=settings.threads,
        spinning=settings.spinning,
        cuda_graphs=settings.cuda_graphs,
        precision=settings.precision,
        nearest=settings.nearest,
        most_users=settings.max_batch,
        short_windows=settings.short_windows,
        warm_up_s=settings.warm_up_s,
    )
