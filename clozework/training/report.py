"""One page of HTML about a training, which needs nothing but itself."""

from collections.abc import Mapping, Sequence
from html import escape

from clozework.training.charts import bars, curves, matrix, reliability
from clozework.training.evaluations.classes import ClassifierEvaluation
from clozework.training.evaluations.evaluation import Evaluation, ScoreTable, TextLengths

__all__ = ["report_page"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6474; --line: #d9dee7; --page: #fff;
  --card: #f6f8fb; --c0: #2463c9; --c1: #c2570c; --c2: #0d7f5f; --c3: #8a3ffc; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf2; --soft: #a3adbd; --line: #343c4a;
  --page: #12161d; --card: #1a202a; --c0: #7fb0ff; --c1: #ffa35c; --c2: #56d2ad; --c3: #c9a6ff;
  --bad: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; background: var(--card); border-radius: .5rem; padding: .8rem;
  overflow-x: auto; }
figcaption { font-size: .9rem; color: var(--soft); max-width: 520px; }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick, svg .title { fill: var(--soft); text-anchor: middle; }
svg .tick.y, svg .row { text-anchor: end; } svg .name { font-weight: 600; }
svg .count { text-anchor: middle; font-size: 11px; } svg .strong { fill: var(--page); }
svg .grid { stroke: var(--line); }
svg .line { fill: none; stroke-width: 2; } svg .bar { fill: var(--c0); }
svg .mark { stroke: var(--soft); stroke-dasharray: 4 4; }
svg .line.c0 { stroke: var(--c0); } svg .line.c1 { stroke: var(--c1); }
svg .line.c2 { stroke: var(--c2); } svg .line.c3 { stroke: var(--c3); }
svg .c0:not(.line) { fill: var(--c0); } svg .c1:not(.line) { fill: var(--c1); }
svg .c2:not(.line) { fill: var(--c2); } svg .c3:not(.line) { fill: var(--c3); }
svg .right { fill: var(--c2); } svg .wrong { fill: var(--bad); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); vertical-align: top; } td.number, th.number {
  text-align: right; font-variant-numeric: tabular-nums; }
pre { background: var(--card); border-radius: .5rem; padding: .8rem; white-space: pre-wrap; }
"""


def report_page(
    *,
    title: str,
    facts: Sequence[str],
    command: str,
    history: Mapping[str, Sequence[float]],
    evaluation: Evaluation | None,
) -> str:
    """Returns the page.

    Args:
        title: Name of the model.
        facts: Sentences on data and training.
        command: What makes the same model again.
        history: Loss and metrics of each epoch.
        evaluation: Of the examples kept for validation; None where there are none.
    """
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">{"<br>".join(map(escape, facts))}</p>',
    ]
    if evaluation is not None:
        sections.append(f"<p><strong>{escape(evaluation.summary())}</strong></p>")
    sections += ["<h2>Training</h2>", _charts(_histories(history))]
    if evaluation is not None:
        sections += _about_examples(evaluation)
    sections += [
        "<h2>The same again</h2>",
        f"<pre>{escape(command)}</pre>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{chr(10).join(sections)}\n</body></html>\n"
    )


def _histories(history: Mapping[str, Sequence[float]]) -> list[tuple[str, str]]:
    charts = []
    for name, values in history.items():
        if name.startswith("val_"):
            continue
        series = {"training": values}
        if f"val_{name}" in history:
            series["validation"] = history[f"val_{name}"]
        readable = name.replace("sparse_categorical_", "").replace("_", " ")
        charts.append((curves(series, x_title="epoch", y_title=readable), readable))
    return charts


def _about_examples(evaluation: Evaluation) -> list[str]:
    """Returns sections about the examples kept for validation."""
    charts = [_of_lengths(evaluation.lengths)]
    sections = ["<h2>Scores</h2>", _table(evaluation.scores())]
    if isinstance(evaluation, ClassifierEvaluation):
        names = [one.label for one in evaluation.classes]
        confusion = matrix(evaluation.confusion, names)
        sections += [
            "<h2>What is taken for what</h2>",
            _charts([(confusion, "rows: what it is; columns: what it is taken for")]),
        ]
        points = [(one.probability, one.accuracy, one.count) for one in evaluation.calibration]
        charts.insert(
            0,
            (
                reliability(points),
                f"Are probabilities what they say? On the dashed line they are; on average they "
                f"are {evaluation.calibration_error:.3f} away",
            ),
        )
    worst = evaluation.worst()
    return [
        *sections,
        "<h2>The texts</h2>",
        _charts(charts),
        "<h2>The worst mistakes</h2>",
        _table(worst) if worst.rows else "<p>None.</p>",
    ]


def _of_lengths(lengths: TextLengths) -> tuple[str, str]:
    share_cut = lengths.num_cut / len(lengths.counts)
    histogram = bars(
        lengths.counts, x_title="tokens of a text", y_title="texts", mark=lengths.longest_text
    )
    return histogram, (
        f"{lengths.num_cut} texts ({share_cut:.1%}) are longer than the {lengths.longest_text} "
        f"tokens of a row"
    )


def _charts(charts: Sequence[tuple[str, str]]) -> str:
    figures = (
        f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for svg, caption in charts
    )
    return f'<div class="charts">{"".join(figures)}</div>'


def _table(table: ScoreTable) -> str:
    def cells(tag: str, values: Sequence[str]) -> str:
        kinds = ["" if i < table.first_number else ' class="number"' for i in range(len(values))]
        return "".join(
            f"<{tag}{kind}>{escape(value)}</{tag}>"
            for kind, value in zip(kinds, values, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in table.rows)
    header = cells("th", table.header)
    return f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"
