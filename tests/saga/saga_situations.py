"""Sagas whose step `a` is in each of its statuses."""

from saga_stories import Story, halted


def pending() -> Story:
    return Story("first", "a")


def executing() -> Story:
    return Story("a", "z")


def completed() -> Story:
    story = executing()
    story.completed("a", {"hold": "h-1"})
    return story


def failed() -> Story:
    """Without effect; an earlier step is still being undone."""
    story = Story("first", "a")
    story.completed("first")
    story.failed("a")
    return story


def failed_with_unknown_effect() -> Story:
    """One of two in parallel: the other is awaited before anything is undone."""
    story = Story(["a", "b"])
    story.failed("a", "connection lost", effect_unknown=True)
    return story


def compensating() -> Story:
    story = completed()
    story.failed("z")
    return story


def compensating_what_timed_out() -> Story:
    story = Story("first", "a")
    story.completed("first")
    story.time_passes()
    story.sent_by_clock()
    return story


def compensated() -> Story:
    """An earlier step is still being undone."""
    story = compensating_what_timed_out()
    story.undone("a")
    return story


def compensation_failed() -> Story:
    return halted(undoing="a")
