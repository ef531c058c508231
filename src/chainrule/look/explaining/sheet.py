"""The style sheet of explanations in HTML: scoped to one class, light and dark, and on paper all unfolded."""

import re

from chainrule.look.explaining.palette import DARK, LIGHT

CLASS = "chainrule-look"


def _variables(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


_RULES = """
@{color:var(--ink);background:var(--paper);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;
 padding:1rem 1.25rem;border-radius:8px;overflow-wrap:break-word;text-align:left}
@ *{box-sizing:border-box}
@ h1{font-size:1.3rem;margin:0;font-weight:650}
@ h2{font-size:1.05rem;margin:1.8rem 0 .5rem;padding-top:.7rem;border-top:2px solid var(--edge)}
@ h2 .n{display:inline-block;width:1.6rem;height:1.6rem;line-height:1.6rem;text-align:center;border-radius:50%;
 background:var(--card);border:1px solid var(--edge);margin-right:.5rem;font-size:.85rem}
@ h2.forward{color:var(--forward);border-color:var(--forward)}
@ h2.error{color:var(--error);border-color:var(--error)}
@ h2 small{font-weight:400;font-size:.85rem;color:var(--muted);margin-left:.4rem}
@ p{margin:.3rem 0}
@ .muted{color:var(--muted);font-size:.88rem}
@ .rule{color:var(--muted);font-size:.88rem;margin:.1rem 0 .5rem}
@ code,@ .num{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.82rem}
@ details{border:1px solid var(--edge);border-left:4px solid var(--edge);border-radius:6px;margin:.4rem 0;
 background:var(--card)}
@ details.forward{border-left-color:var(--forward)}
@ details.error{border-left-color:var(--error)}
@ details.still{border-left-style:dotted;border-left-color:var(--still)}
@ summary{cursor:pointer;padding:.35rem .7rem;display:flex;gap:.6rem;align-items:baseline;flex-wrap:wrap}
@ summary::before{content:"▸";color:var(--muted)}
@ details[open]>summary::before{content:"▾"}
@ summary::-webkit-details-marker{display:none}
@ summary b{font-weight:600}
@ summary .kind{color:var(--muted);font-size:.88rem}
@ summary .gist{margin-left:auto;color:var(--muted);font-size:.82rem}
@ .inside{padding:.1rem .9rem .6rem;display:grid;grid-template-columns:repeat(auto-fill,minmax(min(26rem,100%),1fr));
 gap:0 1.5rem}
@ .inside>p,@ .inside>.broad{grid-column:1/-1}
@ .tensor{display:grid;grid-template-columns:minmax(6.5rem,8.5rem) minmax(0,1fr);gap:.2rem .9rem;padding:.3rem 0;
 align-items:start}
@ .tensor .name{font-weight:600;overflow-wrap:anywhere}
@ .tensor .name span{display:block;font-weight:400;color:var(--muted);font-size:.8rem}
@ .tensor.forward .name{color:var(--forward)}@ .tensor.error .name{color:var(--error)}
@ .tensor.still .name{color:var(--still)}
@ .scroll{overflow-x:auto}
@ table.m{border-collapse:separate;border-spacing:2px;margin:0}
@ table.m td{padding:.1rem .45rem;text-align:right;border-radius:3px;white-space:nowrap;border:0;
 font:.8rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;color:var(--ink)}
@ table.t{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums}
@ table.t td,@ table.t th{padding:.2rem .8rem .2rem 0;border-bottom:1px solid var(--edge);text-align:left}
@ table.t td.r{text-align:right}
@ .digest{display:flex;gap:.3rem .9rem;align-items:end;flex-wrap:wrap;font-size:.86rem}
@ .digest svg{display:block}
@ .digest dl{display:flex;gap:.8rem;margin:0}
@ .digest dt{color:var(--muted);font-size:.75rem}@ .digest dd{margin:0;font-variant-numeric:tabular-nums}
@ .flow{display:flex;gap:.35rem;overflow-x:auto;padding:.7rem 0 .3rem;align-items:stretch}
@ .box{flex:1 0 6.2rem;max-width:11rem;border:1px solid var(--edge);border-radius:6px;background:var(--card);
 padding:.35rem .5rem;font-size:.8rem;min-width:0}
@ .box b{display:block;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
@ .box .kind{color:var(--muted);display:block;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
@ .box.still{border-style:dotted}
@ .box.loss{border-width:2px}
@ .meter{display:grid;grid-template-columns:1rem 1fr auto;gap:.3rem;align-items:center;font-size:.76rem;
 font-variant-numeric:tabular-nums}
@ .meter i{display:block;height:.45rem;border-radius:2px;background:var(--edge)}
@ .meter.forward{color:var(--forward)}@ .meter.forward i{background:var(--forward)}
@ .meter.error{color:var(--error)}@ .meter.error i{background:var(--error)}
@ .big{font-size:1.6rem;font-weight:650;font-variant-numeric:tabular-nums}
@ .good{color:var(--good)}@ .bad{color:var(--bad);font-weight:700}
@ .deal{display:grid;grid-template-columns:auto 1fr auto;gap:.25rem .8rem;align-items:center;max-width:36rem}
@ .deal i{display:block;height:.8rem;border-radius:3px;background:var(--forward)}
@ .deal i.p{background:none;border:2px dashed var(--forward)}
@ .deal i.up{background:var(--error)}
@ ul.tree{list-style:none;margin:.1rem 0;padding-left:1.1rem;border-left:1px solid var(--edge)}
@ ul.tree.root,@ ul.tree.only{border:0;padding-left:0}
@ ul.tree details{border:0;background:none;margin:0}
@ ul.tree summary,@ ul.tree .leaf{padding:.1rem .3rem;display:flex;gap:.5rem;font-size:.86rem;align-items:baseline}
@ ul.tree .leaf::before{content:"■";color:var(--forward);font-size:.7rem}
@ ul.tree .what{color:var(--error);font-weight:600}
@ ul.tree .adds{margin-left:auto;font-variant-numeric:tabular-nums;white-space:nowrap}
@ ul.tree .adds>:last-child{display:inline-block;min-width:5.5rem;text-align:right}
@ ul.tree .bar{display:inline-block;width:5rem;height:.55rem;background:none;text-align:left}
@ ul.tree .bar i{display:block;height:100%;background:var(--error);border-radius:2px}
@ ul.tree .bar i.less{background:var(--forward)}
@media print{@ details>*{display:block}@ *{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

# In the rules above a lone @ stands for the class, so that nothing outside an explanation is touched.
_SCOPED = re.sub(r"@(?!media)", f".{CLASS}", _RULES)
SHEET = (
    f".{CLASS}{{color-scheme:light dark;{_variables(LIGHT)}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{.{CLASS}{{{_variables(DARK)}}}}}\n{_SCOPED}"
)
