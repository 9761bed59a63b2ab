"""The search for the first bad of many versions: halving a graph of commits, without knowing what good and bad are.

What is halved is the number of ancestors, as `git bisect` does: of the suspects, the next to be tested is the one for
which the smaller side, what is behind it or what is not, is largest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


class Bisection:
    """Which versions may still be the first bad one.

    `parents` has the suspects, each before those that it comes from, with parents that may be no suspects. The first is
    taken for bad, and what no suspect is for good.
    """

    def __init__(self, parents: Mapping[str, Sequence[str]]) -> None:
        self._parents = dict(parents)
        self._skipped: set[str] = set()
        self.first_known_bad = next(iter(self._parents), None)

    @property
    def suspects(self) -> Sequence[str]:
        """The versions of which one is the first bad one, newest first; one is left when it is found."""
        return list(self._parents)

    @property
    def steps(self) -> int:
        """How many tests are left, about: as many as halve the suspects down to one."""
        return max(len(self._parents) - 1, 0).bit_length()

    def good(self, commit: str) -> None:
        """Clear a version that was tested, and all that it comes from."""
        cleared = self._ancestors(commit)
        self._keep(one for one in self._parents if one not in cleared)

    def bad(self, commit: str) -> None:
        """Suspect only a version that was tested and what it comes from."""
        self._keep(self._ancestors(commit))
        self.first_known_bad = commit

    def skip(self, commit: str) -> None:
        """Ask no more for a version that cannot be tested; it stays a suspect."""
        self._skipped.add(commit)

    def next(self) -> str | None:
        """Return the version to be tested next; None where one suspect is left, or all others were skipped.

        Of two that halve alike, it is the newer one. Where the best was skipped, what is wrong with it may be wrong
        with its neighbours, so that the next is taken from further away, another way each time.
        """
        total = len(self._parents)
        sides = [(min(behind, total - behind), behind, one) for one, behind in self._weights().items()]
        ranked = [one for _, _, one in sorted(sides, key=lambda side: side[:2], reverse=True)]
        open_ones = [one for one in ranked if one not in self._skipped and one != self.first_known_bad]
        if not open_ones or ranked[0] not in self._skipped:
            return open_ones[0] if open_ones else None
        return open_ones[int(len(open_ones) * _spread(len(self._skipped)) ** 1.5)]

    def _keep(self, kept: Iterable[str]) -> None:
        """Suspect only some of the suspects, in the order that they have."""
        wanted = set(kept)
        self._parents = {one: parents for one, parents in self._parents.items() if one in wanted}

    def _ancestors(self, commit: str) -> set[str]:
        """Return the suspects that a version comes from, itself among them."""
        found: set[str] = set()
        waiting = [commit]
        while waiting:
            one = waiting.pop()
            if one in self._parents and one not in found:
                found.add(one)
                waiting += self._parents[one]
        return found

    def _weights(self) -> Mapping[str, int]:
        """Return how many suspects each comes from, itself among them.

        A set of ancestors is a number with a bit for each, kept only until its last child is done: in a history that
        branches little, few are held.
        """
        children = dict.fromkeys(self._parents, 0)
        for parents in self._parents.values():
            for parent in parents:
                if parent in children:
                    children[parent] += 1
        sets: dict[str, int] = {}
        weights: dict[str, int] = {}
        for number, one in enumerate(reversed(self._parents)):
            behind = 1 << number
            for parent in self._parents[one]:
                if parent in sets:
                    behind |= sets[parent]
                    children[parent] -= 1
                    if not children[parent]:
                        del sets[parent]
            weights[one] = behind.bit_count()
            if children[one]:
                sets[one] = behind
        return weights


def _spread(number: int) -> float:
    """Return the fractions 1/2, 1/4, 3/4, 1/8, 5/8, ... (van der Corput 1935): each far from those before it."""
    fraction, share = 0.0, 0.5
    while number:
        number, bit = divmod(number, 2)
        fraction, share = fraction + bit * share, share / 2
    return fraction
