"""The page's style sheet: forward is blue, error is orange, what is not trained is grey; light, dark and on paper.

The colours of text have a contrast of 4.5 or more with the background in both themes.
"""

from chainrule.look.explaining.palette import DARK as DARK
from chainrule.look.explaining.palette import LIGHT as LIGHT


def _variables(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


_PAGE = """
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem 1rem 3rem;max-width:70rem;background:var(--paper);color:var(--ink);
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:break-word}
h1{font-size:1.45rem;line-height:1.3;font-weight:600;margin:.25rem 0 1rem;max-width:46rem}
h2{font-size:1.15rem;margin:2.5rem 0 .75rem;padding-top:.9rem;border-top:1px solid var(--edge)}
h3{font-size:1rem;margin:0 0 .4rem}
p{margin:.4rem 0;max-width:46rem}
h1 bdi{font-style:italic}
bdi{overflow-wrap:anywhere}
.brand{margin:0;color:var(--muted);font-size:.85rem}
.flow{display:inline-block;margin-right:.45em}
.flow b{color:var(--forward)}.flow i{color:var(--error);font-style:normal;font-weight:700}
.small,.rest,figcaption{color:var(--muted);font-size:.875rem}
.warn{border-left:4px solid var(--error);padding:.4rem .9rem;background:var(--card);max-width:46rem}
.verdict{margin-top:1rem;border-left:4px solid var(--forward);padding:.4rem .9rem;background:var(--card);
 font-size:1.05rem}
.verdict.behind{border-color:var(--error)}
.hero,.pair{display:grid;gap:1.5rem 2.5rem;grid-template-columns:1fr}
@media(min-width:52rem){.hero,.pair{grid-template-columns:1fr 1fr}}
.figure{font-size:3.75rem;line-height:1.05;font-weight:650;color:var(--forward);letter-spacing:-.02em;margin:.5rem 0 0;
 font-variant-numeric:tabular-nums}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.75rem;margin:1.5rem 0 0;padding:0}
.tiles div{background:var(--card);border:1px solid var(--edge);border-radius:6px;padding:.55rem .8rem}
.tiles dt{color:var(--muted);font-size:.8rem}
.tiles dd{margin:0;font-size:1.15rem;font-weight:600;font-variant-numeric:tabular-nums}
.tiles dd span{display:block;font-size:.78rem;font-weight:400;color:var(--muted)}
figure{margin:0;min-width:0}
figcaption{margin-top:.35rem}
ul{padding-left:1.2rem;max-width:46rem}
footer{margin-top:2.5rem;padding-top:.9rem;border-top:1px solid var(--edge);color:var(--muted);font-size:.85rem}
"""

_TABLES = """
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums;margin:.5rem 0;
 min-width:min(100%,32rem)}
caption{text-align:left;color:var(--muted);padding-bottom:.3rem}
th,td{padding:.28rem .7rem .28rem 0;border-bottom:1px solid var(--edge);vertical-align:top}
th.w,td.w{text-align:left}th.n,td.n{text-align:right;white-space:nowrap}
thead th{color:var(--muted);font-weight:600}
tbody th{font-weight:500;max-width:18rem}
tr.us th,tr.us td{color:var(--forward);font-weight:600}
td .mark{color:var(--muted);font-weight:400}
pre{overflow-x:auto;background:var(--card);border:1px solid var(--edge);border-radius:6px;padding:.8rem 1rem;
 font:.8rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
details{margin:.6rem 0}
summary{cursor:pointer;color:var(--forward);font-size:.875rem;font-weight:500}
.you{font-weight:600}
.matrix table{min-width:0;border-collapse:separate;border-spacing:2px;margin:0}
.matrix th,.matrix td{border:0;padding:.28rem .4rem;text-align:center;vertical-align:middle}
.matrix thead th{vertical-align:bottom}
.matrix.long thead th.c span{writing-mode:vertical-rl;transform:rotate(180deg);max-height:9rem}
.matrix tbody th{text-align:right;white-space:nowrap}
.matrix td{min-width:2.1rem;background:var(--card)}
.matrix td.zero{color:var(--muted)}
.matrix td.hit{font-weight:700;box-shadow:inset 0 0 0 1px var(--forward)}
.matrix td.share{background:none;text-align:right;white-space:nowrap}
""" + "".join(
    f".matrix td.{kind}{level}{{background:color-mix(in srgb,var(--{colour}) {10 * level}%,var(--paper))}}\n"
    for kind, colour in (("h", "forward"), ("m", "error"))
    for level in range(1, 5)
)

_CHARTS = """
svg{display:block;width:100%;max-width:34rem;height:auto;font-family:inherit}
svg text{fill:var(--ink);font-size:12.5px}
svg .tick{fill:var(--muted);font-size:11.5px}
svg .strong{font-weight:600;fill:var(--ink)}
@media(min-width:30rem){svg text{font-size:11px}svg .tick{font-size:10px}}
.grid{stroke:var(--edge);stroke-width:.7}
.axis{stroke:var(--still);stroke-width:1}
.best{stroke:var(--ink);stroke-width:1;stroke-dasharray:1.5 2.5}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.dashed{stroke-width:1.3;stroke-dasharray:4 3.5}
.line.forward,.dots.forward,.cloud.forward,.ring.forward{stroke:var(--forward)}
.line.error,.dots.error,.cloud.error,.ring.error{stroke:var(--error)}
.line.grey,.dots.grey{stroke:var(--still)}
.dots{fill:none;stroke-width:6;stroke-linecap:round}
.cloud{fill:none;stroke-width:4.5;stroke-linecap:round;opacity:.65}
.ideal{stroke:var(--ink);stroke-width:1;stroke-dasharray:5 3}
.ring{fill:var(--paper);stroke-width:2}
.bar.forward{fill:var(--forward)}.bar.error{fill:var(--error)}.bar.grey{fill:var(--still)}
.whisker{stroke:var(--ink);stroke-width:1.2}
"""

_PAPER = """
@media print{
 body{max-width:none;padding:0;font-size:10.5pt}
 figure,.tiles,.matrix,tr,svg{break-inside:avoid}
 h2,h3{break-after:avoid}
 .hero,.pair{grid-template-columns:1fr 1fr}
 .scroll,pre{overflow:visible;white-space:pre-wrap}
 summary{color:inherit}
 *{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""

SHEET = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}\n"
    f"{_PAGE}{_TABLES}{_CHARTS}{_PAPER}"
)
