"""How many statements a piece of work sent to its database, so that one per row (N+1) is seen.

A request, task or message counts through its context (`core.context`). The first statement makes the count, so work
that asks no database pays nothing.
"""

from .statements import without_values

# A loop that writes each statement by hand has a new text each time: past this many they are no longer told apart.
MAX_TEXTS = 256


class QueryCount:
    """How many statements there were, how long they took together, and which of them ran most often."""

    __slots__ = ("count", "seconds", "texts")

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self.texts: dict[str, int] = {}

    def add(self, text: str, seconds: float) -> None:
        """Count a statement.

        Args:
            text: What it says.
            seconds: How long it took.

        """
        self.count += 1
        self.seconds += seconds
        texts = self.texts
        if text in texts:
            texts[text] += 1
        elif len(texts) < MAX_TEXTS:
            texts[text] = 1

    def merge(self, other: "QueryCount") -> None:
        """Count what was counted elsewhere.

        Args:
            other: The other count.

        """
        self.count += other.count
        self.seconds += other.seconds
        for text, times in other.texts.items():
            if text in self.texts or len(self.texts) < MAX_TEXTS:
                self.texts[text] = self.texts.get(text, 0) + times

    def most_often(self) -> tuple[str, int]:
        """Return the statement that ran most often, without its values, and how often that was."""
        times: dict[str, int] = {}
        # Those that differ in their values alone are one, as a person means it.
        for text, ran in list(self.texts.items()):
            shown = without_values(text)
            times[shown] = times.get(shown, 0) + ran
        return max(times.items(), key=lambda item: item[1], default=("", 0))
