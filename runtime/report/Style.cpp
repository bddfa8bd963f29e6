//===- Style.cpp - the style sheet of a report -------------------------------===//
//
// One column of a paper's width, figures of equal height to the digit, two
// inks and one accent. Light, dark and print differ in the variables only.
//
//===----------------------------------------------------------------------===//
#include "runtime/report/RunRecord.h"

namespace pg::rt {

const char *const kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1d21; --soft: #5d636d; --faint: #9aa0a9; --rule: #e2e4e8; --wash: #f6f7f9;
  --c0: #2a5a9c; --c1: #c05a1c; --c2: #2f7d5b; --c3: #8a4c9e; --c4: #a8893a; --c5: #5b6674;
  --bad: #a8322a; --mark: #eef3fa;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15171a; --ink: #e4e6ea; --soft: #a2a8b2; --faint: #747b86; --rule: #2d3138; --wash: #1c1f24;
    --c0: #7fb0ec; --c1: #eb9a5c; --c2: #73c3a0; --c3: #c595d6; --c4: #d7bd74; --c5: #9aa5b4;
    --bad: #ef8a80; --mark: #1d2836;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 3.2rem 1.5rem 4rem; max-width: 61rem;
  background: var(--paper); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", "Liberation Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
h1, h2, h3 { font-weight: 600; line-height: 1.2; margin: 0; }
h1 { font-size: 2rem; letter-spacing: -0.015em; overflow-wrap: anywhere; }
h2 { font-size: 1.12rem; margin: 3rem 0 0.9rem; padding-top: 0.85rem; border-top: 1px solid var(--ink); }
h3 { font-size: 0.88rem; }
p { margin: 0.4rem 0; max-width: 46rem; }
.kind { margin: 0 0 0.35rem; color: var(--soft); font-size: 0.86rem; }
.lede { margin-top: 0.7rem; color: var(--soft); font-size: 1.02rem; }
.note { color: var(--soft); font-size: 0.86rem; }
.outcome { color: var(--bad); font-weight: 600; }
code, .mono { font: 0.84em/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; overflow-wrap: anywhere; }

.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.2rem, 1fr)); gap: 1.4rem 1.3rem; margin: 2rem 0 0; }
.headline div { border-top: 2px solid var(--rule); padding-top: 0.55rem; }
.headline div:first-child { border-top-color: var(--c0); }
.headline dt { color: var(--soft); font-size: 0.82rem; }
.headline dd { margin: 0.1rem 0 0; font-size: 1.5rem; font-weight: 600; letter-spacing: -0.02em; line-height: 1.2; white-space: nowrap; }
.headline small { display: block; color: var(--soft); font-size: 0.8rem; font-weight: 400; letter-spacing: 0; white-space: normal; }

.charts { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1.8rem 1.6rem; }
.charts .wide { grid-column: 1 / -1; }
figure { margin: 0; min-width: 0; }
figure.chart { position: relative; break-inside: avoid; }
.chart-head { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; align-items: baseline; padding-right: 3.6rem; min-height: 1.7rem; }
.legend { display: flex; flex-wrap: wrap; gap: 0 1.1rem; margin: 0; padding: 0; list-style: none; font-size: 0.82rem; }
.legend i { display: inline-block; width: 1.1rem; height: 0; margin-right: 0.4rem; border-top: 2.2px solid currentColor; vertical-align: 0.25rem; }
.legend span { color: var(--soft); }
figcaption { margin-top: 0.2rem; color: var(--soft); font-size: 0.8rem; line-height: 1.4; }
.scale { position: absolute; opacity: 0; }
.scale-label { position: absolute; top: 0; right: 0; padding: 0 0.45rem; border: 1px solid var(--rule); border-radius: 0.7rem; color: var(--soft); font-size: 0.74rem; line-height: 1.25rem; cursor: pointer; user-select: none; }
.scale:checked + .scale-label { background: var(--ink); border-color: var(--ink); color: var(--paper); }
.scale:focus-visible + .scale-label { outline: 2px solid var(--c0); outline-offset: 2px; }
.scale:checked ~ .linear, .scale:not(:checked) ~ .log { display: none; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-size: 11px; fill: var(--soft); }
.end { font-weight: 600; }
.grid { stroke: var(--rule); stroke-width: 1; fill: none; }
.axis { stroke: var(--faint); stroke-width: 1; fill: none; }
.mark { stroke: var(--faint); stroke-width: 1; stroke-dasharray: 2 3; fill: none; }
.mark-label { font-style: italic; }
.raw { fill: none; stroke-width: 0.8; opacity: 0.34; stroke-linejoin: round; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); } .c3 { stroke: var(--c3); } .c4 { stroke: var(--c4); } .c5 { stroke: var(--c5); }
.dot { stroke: var(--paper); stroke-width: 1.2; }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); } .f3 { fill: var(--c3); } .f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
.t0 { color: var(--c0); } .t1 { color: var(--c1); } .t2 { color: var(--c2); } .t3 { color: var(--c3); } .t4 { color: var(--c4); } .t5 { color: var(--c5); }
svg .t0 { fill: var(--c0); } svg .t1 { fill: var(--c1); } svg .t2 { fill: var(--c2); } svg .t3 { fill: var(--c3); } svg .t4 { fill: var(--c4); } svg .t5 { fill: var(--c5); }

.pair { display: grid; grid-template-columns: 2fr 3fr; gap: 0 2.6rem; }
.pair h2 { margin-top: 3rem; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: 0.87rem; }
th, td { padding: 0.3rem 0.9rem 0.3rem 0; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 500; font-size: 0.8rem; border-bottom-color: var(--faint); }
th:last-child, td:last-child { padding-right: 0; }
.n { text-align: right; white-space: nowrap; }
tr.sum td { border-bottom: 0; border-top: 1px solid var(--faint); font-weight: 600; }
tr.second td { border-bottom: 0; padding-top: 0; color: var(--soft); }
tr.group th { padding-top: 1.1rem; color: var(--ink); font-weight: 600; }
tr.changed td { background: var(--mark); }
tr.changed td:first-child { box-shadow: -0.5rem 0 0 var(--mark); }
.pair td:first-child, td.mono:first-child, td.origin { white-space: nowrap; }
td.origin { color: var(--soft); }
.bar { display: flex; height: 0.65rem; margin: 0.2rem 0 0.9rem; border-radius: 2px; overflow: hidden; background: var(--wash); gap: 1px; }
.bar i { display: block; min-width: 1px; }
.b0 { background: var(--c0); } .b1 { background: var(--c1); } .b2 { background: var(--c2); } .b3 { background: var(--c3); } .b4 { background: var(--c4); } .b5 { background: var(--c5); }
.key { display: inline-block; width: 0.6rem; height: 0.6rem; margin-right: 0.5rem; border-radius: 1px; }
.verdict { margin-top: 0.9rem; padding: 0.7rem 0.9rem; border-left: 3px solid var(--c0); background: var(--wash); max-width: none; }
details { margin-top: 0.9rem; }
summary { color: var(--soft); font-size: 0.86rem; cursor: pointer; }
details[open] summary { margin-bottom: 0.5rem; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: 0.28rem 1.6rem; margin: 0; font-size: 0.87rem; }
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-top: 0.8rem; border-top: 1px solid var(--rule); color: var(--soft); font-size: 0.8rem; }

@media (max-width: 52rem) {
  body { padding: 2rem 1.1rem 3rem; }
  .charts, .pair { grid-template-columns: 1fr; }
  .wide .linear, .wide .log { overflow-x: auto; }
  .wide svg { min-width: 38rem; }
  .chart:not(.wide) svg { max-width: 24rem; }
}
@media print {
  :root {
    color-scheme: light;
    --paper: #ffffff; --ink: #000000; --soft: #4a4f57; --faint: #8c929b; --rule: #d5d8dd; --wash: #f4f5f7;
    --c0: #2a5a9c; --c1: #c05a1c; --c2: #2f7d5b; --c3: #8a4c9e; --c4: #a8893a; --c5: #5b6674;
    --bad: #a8322a; --mark: #eef3fa;
  }
  @page { margin: 16mm 15mm; }
  body { padding: 0; max-width: none; font-size: 9.5pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  h2 { margin-top: 1.6rem; break-after: avoid; }
  .headline { grid-template-columns: repeat(6, 1fr); gap: 0 0.9rem; }
  .headline dd { font-size: 1.15rem; }
  .chart-head { padding-right: 0; }
  .charts { grid-template-columns: repeat(3, 1fr); }
  .pair { grid-template-columns: 2fr 3fr; }
  .scale-label, details:not([open]) { display: none; }
  tr, .headline, .verdict { break-inside: avoid; }
}
)css";

} // namespace pg::rt
