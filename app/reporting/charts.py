"""Charts as inline SVG: bars stretch with the page, texts beside them do not, so that both a phone and a screen can read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from app.reporting.figures import STAGES, Rates

_DAY = 86_400


def rate_panels(rates: Rates) -> str:
    """One row of bars a stage, all on the same scales, and the numbers as a table to unfold."""
    most = max((max(values, default=0) for values in rates.counts.values()), default=0)
    if not most:
        return '<p class="quiet">Nothing has moved yet.</p>'
    top = _round_up(most / rates.step)
    panels = "".join(_panel(stage, rates, top) for stage in STAGES)
    ends = [rates.start + rates.step * rates.bins * part // 2 for part in range(3)]
    labels = "".join(f"<span>{_clock(moment, rates)}</span>" for moment in ends)
    return f'<div class="panels">{panels}<div class="axis">{labels}</div></div>{_numbers(rates)}'


def bar(part: float) -> str:
    """A bar of *part* of the whole width."""
    shape = f'<rect width="{100 * part:.2f}" height="1"/>'
    return f'<svg class="bar" role="presentation" viewBox="0 0 100 1" preserveAspectRatio="none">{shape}</svg>'


def _panel(stage: str, rates: Rates, top: float) -> str:
    values = rates.counts[stage]
    bars = "".join(
        f'<rect x="{number + 0.08:.2f}" y="{100 - height:.2f}" width="0.84" height="{height:.2f}">'
        f"<title>{_clock(rates.start + number * rates.step, rates)}: {count:,} {stage} in {rates.step} s</title></rect>"
        for number, count in enumerate(values)
        if count
        for height in [max(100 * count / rates.step / top, 0.8)]
    )
    peak = max(values) / rates.step
    return (
        f'<figure><figcaption><b>{stage}</b> {sum(values):,}<span class="quiet"> · at most {_rate(peak)} a second</span></figcaption>'
        f'<div class="plot"><span class="top">{_rate(top)}/s</span><span class="low">0</span>'
        f'<svg role="img" aria-label="{stage} over time: at most {_rate(peak)} a second" viewBox="0 0 {rates.bins} 100" '
        f'preserveAspectRatio="none">{bars}</svg></div></figure>'
    )


def _numbers(rates: Rates) -> str:
    heads = "".join(f'<th scope="col" class="number">{stage}</th>' for stage in STAGES)
    rows = "".join(
        f'<tr><th scope="row">{_clock(rates.start + number * rates.step, rates)}</th>'
        + "".join(f'<td class="number">{rates.counts[stage][number]:,}</td>' for stage in STAGES)
        + "</tr>"
        for number in range(rates.bins)
        if any(rates.counts[stage][number] for stage in STAGES)
    )
    return (
        f"<details><summary>As numbers, each {rates.step} s</summary>"
        f'<div class="scroll"><table><thead><tr><th scope="col">From</th>{heads}</tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


def _clock(moment: int, rates: Rates) -> str:
    long = rates.step * rates.bins >= _DAY
    return datetime.fromtimestamp(moment, UTC).strftime("%m-%d %H:%M" if long else "%H:%M:%S")


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004 - two digits say enough


def _round_up(value: float) -> float:
    """The next number of the form 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.01
    while True:
        for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8):
            if factor * power >= value:
                return factor * power
        power *= 10
