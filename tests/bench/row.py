"""One line of the bench: a figure and the most that it may be."""

import typing


class Row(typing.NamedTuple):
    """`bound` is the most that `value` may be, or `ratio` where there is one.
    `least` is the least that `ratio` may be, where it is the peer's to ours."""
    name: str
    value: float
    unit: str
    bound: typing.Optional[float] = None
    ratio: typing.Optional[float] = None
    peer: typing.Optional[str] = None
    least: typing.Optional[float] = None

    def missed(self):
        if self.least is not None:
            return self.ratio < self.least
        judged = self.value if self.ratio is None else self.ratio
        return self.bound is not None and judged > self.bound

    def line(self):
        text = "%-34s %10.3f %-4s" % (self.name, self.value, self.unit)
        if self.ratio is not None:
            text += "  %5.2f x %s" % (self.ratio, self.peer)
        if self.least is not None:
            text += "  (at least %g x)" % self.least
        elif self.bound is not None:
            text += "  (bound %g%s)" % (
                self.bound, " x" if self.ratio is not None else "")
        else:
            return text
        return text + (" MISSED" if self.missed() else " ok")
