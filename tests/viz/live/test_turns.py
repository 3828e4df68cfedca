"""Pages that move come first, coarsely; those that rest get a fine picture, once."""

import threading

from dnerf_jax.viz.live.turns import REST, Turns


def test_moving_is_coarse_and_resting_fine():
    turns = Turns()
    turns.touch(1, now=0.0)
    assert turns.next(0.0) == (1, False)
    assert turns.next(0.0) is None
    turns.touch(1, now=0.1)
    turns.touch(1, now=0.2)  # while it was drawn
    assert turns.next(0.2) == (1, False)  # where it stands now, not each step on the way
    assert turns.next(0.2 + 0.9 * REST) is None
    assert turns.next(0.2 + REST) == (1, True)
    assert turns.next(9.0) is None


def test_no_page_waits_for_another_that_moves_on():
    turns = Turns()
    turns.touch(1, 2, now=0.0)
    assert turns.next(0.0) == (1, False)
    turns.touch(1, now=0.1)
    assert [turns.next(0.1), turns.next(0.1)] == [(2, False), (1, False)]


def test_who_has_left_gets_nothing():
    turns = Turns()
    turns.touch(1, 2, now=0.0)
    turns.leave(1)
    assert [turns.next(5.0), turns.next(5.0), turns.next(5.0)] == [(2, False), (2, True), None]


def test_one_thread_waits_for_another():
    turns, found = Turns(), []
    waiting = threading.Thread(target=lambda: found.extend([turns.take(), turns.take()]))
    waiting.start()
    turns.touch(7)
    waiting.join(10)
    assert found == [(7, False), (7, True)]
