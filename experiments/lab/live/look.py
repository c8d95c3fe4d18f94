"""How the page looks: its colours, its lines and its style sheet."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from experiments.lab.figures.style import Look
from experiments.lab.live.charts import legible_on_dark


def ink(method: str) -> str:
    """The colour of a method, as the page has it."""
    return f"var(--of-{method})"


def dashes(look: Look) -> str:
    """The line style of the figures, in the units of the charts."""
    return "" if look.line == "solid" else " ".join(f"{2 * length:g}" for length in look.line[1])


def swatch(color: str, dashing: str = "", width: float = 2.5) -> str:
    """A short piece of a line, for a key."""
    dashed = f' stroke-dasharray="{dashing}"' if dashing else ""
    line = f'<path d="M0 5H24" style="stroke:{color}" stroke-width="{width}"{dashed}/>'
    return f'<svg class=swatch width="24" height="10" aria-hidden="true">{line}</svg>'


def palette(looks: Mapping[str, Look], n_tasks: int) -> str:
    """The colours of the methods and the tasks, as variables for a light and a dark page."""
    steps = np.linspace(0, 1, n_tasks) if n_tasks > 1 else np.array([0.4])
    viridis = matplotlib.colormaps["viridis"]
    light = {f"of-{method}": look.color for method, look in looks.items()}
    light |= {f"task{task}": to_hex(viridis(0.85 * step)) for task, step in enumerate(steps)}
    dark = {f"of-{method}": legible_on_dark(look.color) for method, look in looks.items()}
    dark |= {f"task{task}": to_hex(viridis(0.3 + 0.7 * step)) for task, step in enumerate(steps)}
    one, other = (";".join(f"--{name}:{color}" for name, color in colors.items()) for colors in (light, dark))
    return f":root{{{one}}}@media(prefers-color-scheme:dark){{:root{{{other}}}}}"


STYLE = """
:root{--paper:#fff;--card:#f7f7f8;--ink:#1a1a1a;--quiet:#5c5c5c;--rule:#d4d4d8;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--paper:#131417;--card:#1c1e22;--ink:#ececec;--quiet:#a3a3a8;--rule:#3d4047}}
*{box-sizing:border-box}
body{margin:0 auto;padding:16px;max-width:1240px;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}
h1{font-size:1.2rem;margin:0;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:20px 0 8px}h3{font-size:1rem;margin:0 0 6px}
p{margin:4px 0}.quiet{color:var(--quiet);font-size:.86rem}.state{margin-top:10px}
.bar{height:6px;border-radius:3px;background:var(--rule);overflow:hidden;margin:4px 0 8px}
.bar i{display:block;height:100%;background:var(--ink)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,330px),1fr));gap:14px;margin-top:12px}
.grid>*{max-width:620px}
section,figure{margin:0;padding:12px;background:var(--card);border-radius:8px;min-width:0}
small{font-weight:400;color:var(--quiet)}small.training{color:var(--ink);font-weight:600}
.key{display:flex;flex-wrap:wrap;gap:2px 14px;font-size:.82rem}
.key span{white-space:nowrap}.swatch{vertical-align:middle;fill:none}
svg.chart{display:block;width:100%;height:auto;font-size:12px;fill:var(--ink)}
svg.chart .grid-line{stroke:var(--rule);stroke-width:1}svg.chart .tick{fill:var(--quiet)}
svg.chart .line{fill:none;stroke-linejoin:round}svg.chart .band{stroke:none;fill-opacity:.2}
svg.chart .title{font-weight:600;font-size:13px}
"""
