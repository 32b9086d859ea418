"""Count every row of the paper's tables from its config.

A row is counted in two ways: in plain multiply-adds, which is what the
counters of the frameworks report, and by the convention of the paper's cell.
The error of the second checks the network.
"""

from collections.abc import Callable, Iterable, Sequence

from mnv2_mm.analysis.complexity import count_config
from mnv2_mm.analysis.paper import METRICS, TABLES, Row
from mnv2_mm.analysis.table3 import count_table3
from mnv2_mm.utils.config import config_root
from mnv2_mm.utils.errors import InputError

#: The tables that can be counted.
NAMES = ('3', *TABLES)
Result = dict[str, object]


def count_tables(
    names: Iterable[str], *, progress: Callable[[str], object] = lambda row: None
) -> list[Result]:
    """Count every row of some tables, named as in :data:`NAMES`.

    Returns:
        One dictionary a row, see :func:`_count_row`. Those of Table 3 have
        channels and kilobytes instead of counts.

    Raises:
        InputError: a config does not build.
    """
    results = []
    for name in names:
        if name == '3':
            results += count_table3(progress)
        for row in TABLES.get(name, ()):
            progress(f'{row.table}: {row.name}')
            results.append(_count_row(row))
    return results


def checked_tables(names: Sequence[str]) -> list[str]:
    """Check that names are those of tables; returns them as a list."""
    for name in names:
        if name not in NAMES:
            known = ', '.join(NAMES)
            raise InputError(f'there is no table {name!r}; give one of {known}')
    return list(names)


def _count_row(row: Row) -> Result:
    counted = count_config(config_root() / row.config, tta=row.tta, options=row.options)
    if row.parts:
        counted = counted.part(*row.parts)
    height, width = counted.sizes[0]
    return dict(
        table=row.table,
        row=row.name,
        config=f'configs/{row.config}',
        input=f'{height}x{width}' if not row.tta else f'{len(counted.sizes)} passes',
        params=counted.num_params(),
        params_without_norm=counted.num_params(norm=False),
        madds=counted.cost(),
        convention='madds',
        paper_params=row.params,
        paper_params_with_norm=row.norm,
        paper_madds=row.madds,
        paper_convention=row.convention,
        madds_as_paper=counted.cost(row.convention),
        paper_accuracy=row.accuracy,
        accuracy_metric=METRICS.get(row.table),
        source=row.source,
        note=row.note,
    )
