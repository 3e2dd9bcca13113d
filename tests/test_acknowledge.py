"""The FIFO of deliveries: whatever the order of work, nothing is committed past what is undone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.acknowledge import AckQueue, State, Token


def deliver(queue: AckQueue, *sizes: int, start: int = 0) -> list[Token]:
    tokens = []
    for size in sizes:
        tokens.append(queue.deliver(start, start + size, size))
        start += size
    return tokens


def test_nothing_is_committable_before_the_first_is_done() -> None:
    queue = AckQueue()
    deliver(queue, 10, 10)
    assert queue.committable is None


def test_the_done_prefix_ends_at_the_first_gap() -> None:
    queue = AckQueue()
    first, second, third = deliver(queue, 10, 5, 20)
    ends = []
    for token in (third, first, second):
        assert queue.done(token)
        ends.append(queue.committable)
    assert ends == [None, 10, 35]


def test_done_counts_once() -> None:
    queue = AckQueue()
    [token] = deliver(queue, 10)
    assert queue.done(token)
    assert not queue.done(token)
    assert queue.waiting == 0


def test_waiting_counts_size_and_not_offsets() -> None:
    queue = AckQueue()
    queue.deliver(0, 1000, size=3)
    queue.deliver(2000, 2001, size=50)
    assert queue.waiting == 53


def test_a_rewind_voids_what_came_after_it_done_or_not() -> None:
    queue = AckQueue()
    first, second, third, fourth = deliver(queue, 10, 10, 10, 10)
    queue.done(first)
    queue.done(third)
    assert queue.rewind(second)
    assert not any(queue.done(token) for token in (second, third, fourth))
    assert queue.committable == 10
    assert queue.waiting == 0
    [again] = deliver(queue, 30, start=10)
    assert queue.done(again)
    assert queue.committable == 40


def test_what_is_settled_cannot_be_rewound() -> None:
    queue = AckQueue()
    first, second = deliver(queue, 10, 10)
    queue.done(first)
    queue.rewind(second)
    assert not queue.rewind(first)
    assert not queue.rewind(second)


def test_a_dropped_queue_starts_anywhere_and_ignores_the_late() -> None:
    queue = AckQueue()
    [token] = deliver(queue, 10, start=500)
    queue.drop()
    assert not queue.done(token)
    assert queue.committable is None
    assert queue.waiting == 0
    [lower] = deliver(queue, 10)
    assert queue.done(lower)
    assert queue.committable == 10


def test_a_delivery_out_of_order_is_refused() -> None:
    queue = AckQueue()
    deliver(queue, 10)
    with pytest.raises(ValueError, match=r"\[9, 12\) were delivered where 10 or later is due"):
        queue.deliver(9, 12, 3)


def test_the_oldest_taken_skips_what_nobody_has() -> None:
    queue = AckQueue()
    first, second, third = deliver(queue, 10, 10, 10)
    assert queue.oldest_taken() is None
    second.taken = third.taken = True
    assert queue.oldest_taken() is second
    queue.done(second)
    assert queue.oldest_taken() is third
    assert first.open


class Model:
    """What a partition looks like from outside: each offset was worked on to the end, or not."""

    def __init__(self) -> None:
        self.queue = AckQueue()
        self.position = 0
        self.done: set[int] = set()
        self.given: list[Token] = []  # every token ever seen, so that the late and dead are tried

    def act(self, action: str, choice: int, size: int) -> None:
        if action == "deliver":
            hole = size % 3  # compaction and transaction markers leave holes
            start = self.position + hole
            self.done.update(range(self.position, start))
            self.given.append(self.queue.deliver(start, start + size, size))
            self.position = start + size
        elif self.given:
            token = self.given[choice % len(self.given)]
            if action == "done" and self.queue.done(token):
                self.done.update(range(token.start, token.end))
            elif action == "rewind" and self.queue.rewind(token):
                self.position = token.start
                self.done = {offset for offset in self.done if offset < token.start}


def never_commits_past_a_gap(model: Model) -> bool:
    end = model.queue.committable or 0
    return all(offset in model.done for offset in range(end))


def commits_all_of_the_done_prefix(model: Model) -> bool:
    """Every delivery whose end is not committed has an undone offset at or before it."""
    end = model.queue.committable or 0
    return all(
        any(offset not in model.done for offset in range(token.end))
        for token in model.given
        if token.state is not State.VOID and end < token.end
    )


actions = st.tuples(
    st.sampled_from(["deliver", "deliver", "done", "done", "rewind"]),
    st.integers(0, 50),
    st.integers(1, 7),
)


@given(st.lists(actions, max_size=60))
def test_any_order_of_work_commits_the_done_prefix_and_no_more(
    steps: list[tuple[str, int, int]],
) -> None:
    model = Model()
    committed = 0
    for action, choice, size in steps:
        model.act(action, choice, size)
        assert never_commits_past_a_gap(model)
        assert commits_all_of_the_done_prefix(model)
        assert (model.queue.committable or 0) >= committed  # a rewind never takes a commit back
        committed = model.queue.committable or 0
