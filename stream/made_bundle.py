"""What a person at the terminal reads of a bundle that was just made."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from stream.cli_output import BadRows, out, say

if TYPE_CHECKING:
    from model.bundle import Manifest
    from model.source_report import SourceReport


def tell_bundle(manifest: "Manifest", folder: Path, bad: BadRows, *, as_json: bool) -> None:
    """Figures, calibration, graphs and index; ends with an error where rows were left out."""
    machine: dict[str, Any] = {
        "bundle": str(folder),
        "version": manifest.version,
        "metrics": manifest.metrics,
        "bad": bad.count,
    }
    if manifest.search:
        from stream.search_table import search_sheet

        machine["search"] = to_builtins(manifest.search)
        if not as_json:
            out.print(search_sheet(manifest.search).rich(), soft_wrap=False)
    lines = [f"bundle {manifest.version} in {folder}, {bad.count:,} rows left out"]
    for name, values in manifest.metrics.items():
        figures = ", ".join(
            f"{metric} {value:.4f}" for metric, value in values.items() if "@" in metric
        )
        lines.append(f"  {name}: {figures}")
    if sources := manifest.sources:
        machine["sources"] = to_builtins(sources)
        lines += _told_sources(manifest, sources)
    for name, each in manifest.calibration.items():
        lines.append(
            f"  a listed item's probability of {name}: 1 / (1 + exp(-({each.a:.3g} * score "
            f"{each.b:+.3g}))), off by {each.ece_after:.3f} (the bare score: {each.ece_before:.3f})"
        )
    for name, graph in manifest.variants.items():
        kept = "kept" if graph.admitted else "refused"
        lines.append(
            f"  graph {name} {kept}: {graph.bytes / 1e6:.1f} MB, {graph.milliseconds['64']:.1f} ms "
            f"for 64 users, NDCG@10 lost {graph.ndcg_lost:.2%}"
        )
    if index := manifest.index:
        machine["index"] = to_builtins(index)
        kept = "kept" if index.admitted else "refused"
        lines.append(
            f"  index of the items {kept}: {index.bytes / 1e6:.1f} MB, "
            f"{index.milliseconds['64']:.1f} ms for 64 users (all items: "
            f"{index.exact_milliseconds['64']:.1f} ms), finds {index.recall:.1%} of the "
            f"{index.top_k} nearest, NDCG@10 lost {index.ndcg_lost:.2%}"
        )
    say(as_json, machine, "\n".join(lines))
    bad.exit()


def _told_sources(manifest: "Manifest", sources: "SourceReport") -> list[str]:
    """The quotas that were chosen, and every trial that they were chosen from."""
    chosen = manifest.quotas
    kept = "kept" if manifest.fresh == sources.fresh_learned else "refused"
    lines = [
        f"  order of new items, learned from {sources.fresh_taken:,} taken: {kept}; recall@50 of "
        f"new items among themselves {sources.fresh_recall:.4f} "
        f"(by default {sources.fresh_recall_by_default:.4f})",
        f"  sources: in_category={chosen.in_category}, fresh={chosen.fresh}, new={chosen.new} "
        f"(one place for new costs {sources.new_place_lost:.2%} of NDCG@10)",
    ]
    for each in sources.trials:
        line = (
            f"    in_category={each.in_category}, fresh={each.fresh}: NDCG@10 {each.ndcg:.4f}, "
            f"gain {each.ndcg_gain:+.5f} ± {each.ndcg_error:.5f}"
        )
        if each.new_recall is not None:
            line += f", new items' recall@50 {each.new_recall:.4f}"
        lines.append(line)
    return lines
