"""The card of a pool of teachers: what they are, how good, and how to use them."""

from __future__ import annotations

from collections.abc import Iterable

from ncfm._utils.version import __version__
from ncfm.data.channels import in_words
from ncfm.evaluation.statistics import interval
from ncfm.formats.card import escape, licence, markdown_table, source_name
from ncfm.results.formatting import mean_of
from ncfm.training.pool_files import PoolFacts


def teacher_card(facts: PoolFacts, num_bytes: int) -> str:
    """README.md of a folder of teachers.

    Args:
        facts: of the pool.
        num_bytes: size of weights and facts.
    """
    data = escape(source_name({"data": facts.data}))
    parts = [
        f"# Teachers of {data}",
        f"{facts.number} networks trained on {data}, each with its weights before and after training, in 16 bits "
        f"({num_bytes / 1e6:.1f} MB). ncfm distils with them in place of training its own.",
        f"```\nncfm distill {source_name({'data': facts.data})} --ipc 10 --set teachers.pool=.\n```",
        "## Training\n\n" + markdown_table(("", ""), _rows(facts)),
        f"## Licence of the source data\n\n{licence({'data': facts.data})[1]}",
    ]
    return "\n\n".join(parts) + "\n"


def _rows(facts: PoolFacts) -> Iterable[tuple[str, str]]:
    yield "network", escape(facts.network)
    yield "images", f"{facts.image_size} px, {in_words(facts.channels)}, {len(facts.class_names)} classes"
    yield "fingerprint of the training split", escape(facts.fingerprint)
    yield "settings", escape(", ".join(f"{key}={value}" for key, value in facts.training.items()))
    yield "training time in all", f"{facts.seconds:.0f} s"
    if facts.accuracies:
        spread = interval(facts.accuracies)
        yield "accuracy on the test split, %", mean_of(spread.mean, spread.std, spread.low)
    for key in ("device", "precision", "command", "code"):
        if key in facts.provenance:
            yield {"code": "commit of ncfm"}.get(key, key), escape(facts.provenance[key])
    yield "written by", f"ncfm {__version__}"
