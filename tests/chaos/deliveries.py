"""How often the records of the log have reached an agent, from the workers' journal."""

import numpy as np
from numpy.typing import NDArray


def distinct(deliveries: NDArray[np.void]) -> int:
    """How many different records were delivered."""
    total = 0
    for partition in np.unique(deliveries["partition"]):
        mine = deliveries[deliveries["partition"] == partition]
        change = np.zeros(int(mine["last"].max()) + 2, np.int64)
        np.add.at(change, mine["first"].astype(np.int64), 1)
        np.add.at(change, mine["last"].astype(np.int64) + 1, -1)
        total += int((np.cumsum(change) > 0).sum())
    return total


def redelivered(deliveries: NDArray[np.void]) -> int:
    """How many deliveries repeated an earlier one."""
    given = (deliveries["last"] - deliveries["first"] + 1).astype(np.int64)
    return int(given.sum()) - distinct(deliveries)
