"""Work for threads: in order, and a few results ahead."""

import threading
import time

import pytest

from tfskin.threads import map_ahead


def test_results_come_in_order_whichever_is_done_first():
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * 2

    assert list(map_ahead(slow_first, range(20), workers=4, ahead=6)) == [2 * n for n in range(20)]


def test_no_more_than_so_many_are_begun_before_they_are_taken():
    begun = []

    def note(number: int) -> int:
        begun.append(number)
        return number

    found = map_ahead(note, iter(range(100)), workers=2, ahead=3)
    assert next(found) == 0
    assert next(found) == 1
    deadline = threading.Event()
    deadline.wait(0.05)
    assert set(begun) <= set(range(5))
    found.close()
    assert len(begun) <= 5


def test_an_exception_ends_it():
    def fail(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        return number

    found = map_ahead(fail, range(5), workers=1, ahead=1)
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(found)
    assert list(found) == []


def test_nothing_gives_nothing():
    assert list(map_ahead(str, [], workers=1, ahead=1)) == []
