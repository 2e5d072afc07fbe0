"""The page's style sheet. Colours are named once, for light and for dark."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f8; --card: #fff; --ink: #16191d; --quiet: #59636e; --line: #dfe3e8; --mark: #2a78d6;
  --warn: #b45309; --warn-soft: #fdf1e0; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1d2125; --ink: #eceff2; --quiet: #a3adb8; --line: #353b42;
  --mark: #4d97ee; --warn: #f0a848; --warn-soft: #33291a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.25rem 1rem 2rem; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 0 0 .75rem; }
.scroll + h2 { margin-top: 1.75rem; }
header p { margin: .25rem 0 1.25rem; color: var(--quiet); overflow-wrap: anywhere; }
.state { font-size: .85rem; font-weight: 600; vertical-align: middle; padding: .15rem .6rem; border-radius: 1rem;
  border: 1px solid var(--line); color: var(--quiet); margin-left: .25rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin-bottom: 1rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .6rem; }
.tile { border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .75rem; min-width: 0; }
.tile b { display: block; font-size: 1.35rem; line-height: 1.3; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.tile span { color: var(--quiet); font-size: .85rem; }
.tile.main { border-left: 3px solid var(--mark); }
.tile.warn { border-left: 3px solid var(--warn); background: var(--warn-soft); }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .5rem 1rem; margin: 1rem 0 0; }
.facts dt { color: var(--quiet); font-size: .85rem; }
.facts dd { margin: 0; }
.quiet { color: var(--quiet); }
p.note { margin: .75rem 0 0; }
p.quiet { margin: 0 0 .75rem; }
figure { margin: 0 0 1.1rem; }
figcaption { margin-bottom: .55rem; line-height: 1.2; }
.plot { position: relative; height: 5.5rem; margin-left: 3.75rem; border-top: 1px dashed var(--line);
  border-bottom: 1px solid var(--line); }
.plot svg { display: block; width: 100%; height: 100%; fill: var(--mark); }
.plot rect:hover { fill: var(--warn); }
.top, .low { position: absolute; right: calc(100% + .5rem); color: var(--quiet); font-size: .8rem; line-height: 1; white-space: nowrap; }
.top { top: -.4rem; } .low { bottom: -.4rem; }
.axis { display: flex; justify-content: space-between; margin-left: 3.75rem; color: var(--quiet); font-size: .8rem; }
details { margin-top: .75rem; } summary { cursor: pointer; color: var(--quiet); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); font-weight: 400; }
thead th { color: var(--quiet); font-size: .85rem; white-space: nowrap; }
tbody th { overflow-wrap: anywhere; min-width: 6rem; }
tbody tr:last-child > * { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { width: 70%; overflow-wrap: anywhere; }
.bar { display: block; width: 100%; max-width: 24rem; height: .7rem; margin-top: .35rem; fill: var(--warn); }
.examples { margin: .35rem 0 0; padding-left: 1.1rem; color: var(--quiet); font-size: .85rem; }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  .parked thead { display: none; }
  .parked tr { display: grid; grid-template-columns: 1fr auto; border-bottom: 1px solid var(--line); padding: .4rem 0; }
  .parked tr:last-child { border-bottom: 0; }
  .parked th, .parked td { border-bottom: 0; padding: 0; }
  .parked .wide { grid-column: 1 / -1; width: auto; }
}
footer { color: var(--quiet); font-size: .85rem; overflow-wrap: anywhere; }
"""
