"""How a number is shown: one rule per unit, used by every text and every renderer, so that no two of them disagree.

Next module: `analysis.gate`.
"""

from __future__ import annotations

NOT_DEFINED = "not defined"


def shown(value: float | None, unit: str, sign: bool = True) -> str:
    """`value` in its unit as people read it; with `sign` a plus stands before what is positive, nothing before a zero.

    Shares, rates and bits have four decimals, milliseconds and items two, relative changes are per cent with one,
    p-values (`p`) three significant digits, counts (`count`) none.
    """
    if value is None:
        return NOT_DEFINED
    plus = "+" if sign else ""
    patterns = {
        "share": f"{value:{plus}.4f}",
        "rate": f"{value:{plus}.4f}",
        "ms": f"{value:{plus}.2f} ms",
        "relative": f"{100 * value:{plus}.1f} %",
        "percent": f"{100 * value:.2f} %",
        "bits": f"{value:{plus}.4f} bits",
        "items": f"{value:{plus}.2f} items",
        "p": f"{value:.3g}",
        "count": f"{value:,.0f}",
        "plain": f"{value:.1f}",
    }
    text = patterns[unit]
    if unit != "p" and not any(digit in text for digit in "123456789"):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def interval(lower: float | None, upper: float | None, unit: str, sign: bool = True) -> str:
    """Both limits in brackets; an open side is "…"."""
    if lower is None and upper is None:
        return NOT_DEFINED
    sides = ["…" if limit is None else shown(limit, unit, sign) for limit in (lower, upper)]
    return f"[{sides[0]}, {sides[1]}]"
