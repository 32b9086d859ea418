"""Count every row of the paper's tables from its config.

A row is counted in two ways: in plain multiply-adds, which is what the
counters of the frameworks report, and by the convention of the paper's cell.
The error of the second checks the network.
"""

from collections.abc import Callable, Iterable

from mnv2_mm.analysis.complexity import count_config
from mnv2_mm.analysis.paper import METRICS, TABLES, Row
from mnv2_mm.analysis.table3 import count_table3
from mnv2_mm.utils.config import config_root
from mnv2_mm.utils.errors import InputError

#: The tables that can be counted.
NAMES = ('3', *TABLES)
Progress = Callable[[str], None]
Result = dict[str, object]


def count_tables(
    names: Iterable[str], *, progress: Progress = lambda row: None
) -> list[Result]:
    """Count every row of some tables.

    Args:
        names: Of :data:`NAMES`.
        progress: Gets the name of the row that is counted.

    Returns:
        One dictionary a row with ``table``, ``row``, ``config``, ``params``
        (with batch norm), ``params_without_norm``, ``madds`` (plain), the
        paper's ``paper_params``, ``paper_madds``, ``paper_accuracy`` and
        ``paper_convention`` with its ``madds_as_paper``, and ``note``.
        Rows of Table 3 have channels and kilobytes instead of counts.

    Raises:
        InputError: there is no such table, or a config does not build.
    """
    results = []
    for name in checked_tables(names):
        if name == '3':
            results += count_table3(progress)
        else:
            results += [_count_row(row, progress) for row in TABLES[name]]
    return results


def checked_tables(names: Iterable[str]) -> list[str]:
    """Check that names are those of tables; returns them as a list.

    Raises:
        InputError: one is not.
    """
    names = list(names)
    for name in names:
        if name not in NAMES:
            raise InputError(
                f'there is no table {name!r}; give one of ' + ', '.join(NAMES)
            )
    return names


def _count_row(row: Row, progress: Progress) -> Result:
    progress(f'{row.table}: {row.name}')
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
