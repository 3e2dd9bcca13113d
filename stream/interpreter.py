"""How Python and numpy are set in a worker: no long pauses, and no thread that only waits."""

import asyncio
import gc
import sys

import uvloop
from threadpoolctl import threadpool_limits

YOUNG = 10_000
"""Objects made and not yet freed until the newest are looked at. A micro-batch's thousands die by
themselves before that; with Python's 700 they would outlive two collections, grow old, and have
everything looked at. What waits to be found is a few megabytes at most."""

SWITCH_S = 0.0002
"""How long a thread goes on that another one waits for. A run of the network that has ended and
records that have arrived wait for the thread of the agents, and numpy gives the turn away a dozen
times around a run: with Python's 5 ms that is longer than the run."""


def run_loops_in_c() -> None:
    """Have all event loops that are made from now on run by libuv.

    A micro-batch is some sixty turns of the loops of its two threads: an eighth of what a small one
    costs is Python's own loop.
    """
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def switch_soon() -> None:
    """Let the threads that wait go on after ``SWITCH_S``."""
    sys.setswitchinterval(SWITCH_S)


def multiply_on_one_thread() -> None:
    """Have the matrix products of the libraries that are loaded by now made by who asks for them.

    A micro-batch's products are small. OpenBLAS would share each out to a thread for every core,
    and those then look out for the next one for some 20 ms, at full speed: one product a
    micro-batch kept the cores busy that workers, Redis and ONNX Runtime need.
    """
    threadpool_limits(1, user_api="blas")


def spare_what_is_loaded() -> None:
    """Call once everything is loaded: nothing of it is ever looked at again.

    A vocabulary, a catalogue and the modules are some 150,000 objects that live as long as the
    worker. A full collection walks over all of them, 50 to 90 ms in which no event is served, and
    came every few thousand lists: a tenth of the processor time of a list.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
