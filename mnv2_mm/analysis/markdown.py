"""Counted tables as Markdown, for a file in docs/ and for a terminal."""

import re
from collections.abc import Iterable
from pathlib import Path

from mnv2_mm.analysis.complexity import CONVENTIONS
from mnv2_mm.analysis.paper import METRICS, TITLES
from mnv2_mm.analysis.table3 import COLUMNS, RESOLUTIONS
from mnv2_mm.analysis.tables import Result
from mnv2_mm.utils.errors import InputError
from mnv2_mm.utils.files import write_text

#: Name of the generated part of a Markdown file.
SECTION = 'paper_tables'
#: Tables whose multiply-adds are printed in millions, the others in billions.
_MILLIONS = ('4', 'figure5')
_LINK = re.compile(r'\[([^\]]+)\]\([^)]+\)')
_MARK = re.compile(r' <sup>(\d+)</sup>')
_RULE = re.compile(r'\| (--- \| )*--- \|')


def markdown(results: list[Result]) -> str:
    """All counted tables as Markdown."""
    blocks = []
    for name in dict.fromkeys(result['table'] for result in results):
        rows = [result for result in results if result['table'] == name]
        lines = _table3(rows) if name == '3' else _table(name, rows)
        blocks.append('\n'.join([f'## {TITLES[name]}', '', *lines]))
    return '\n\n'.join(blocks) + '\n'


def _table(name: str, rows: list[Result]) -> list[str]:
    unit, suffix = (1e6, 'M') if name in _MILLIONS else (1e9, 'B')
    metric = METRICS.get(name)
    differs = any(row['paper_convention'] != 'madds' for row in rows)
    origin = 'release' if name == 'figure5' else 'paper'
    with_norm = rows[0]['paper_params_with_norm']
    head = ['', 'parameters', origin, 'error']
    head += ['multiply-adds', origin, 'error']
    head += ['as the paper counts', 'error'] if differs else []
    head += [f'{metric}, quoted'] if metric else []
    lines = [table_line(head), table_line(['---'] * len(head))]
    notes = list(dict.fromkeys(row['note'] for row in rows if row['note']))
    for row in rows:
        mark = f' <sup>{notes.index(row["note"]) + 1}</sup>' if row['note'] else ''
        params = row['params' if with_norm else 'params_without_norm']
        madds, paper = row['madds'], row['paper_madds']
        cells = [
            f'[{row["row"]}](../{row["config"]}){mark}',
            f'{params / 1e6:.3f}M',
            f'{row["paper_params"] / 1e6:g}M',
            _error(params, row['paper_params']),
            f'{_number(madds / unit)}{suffix}',
            f'{paper / unit:g}{suffix}',
            _error(madds, paper),
        ]
        if row['paper_convention'] != 'madds':
            number = _number(row['madds_as_paper'] / unit)
            text = CONVENTIONS[row['paper_convention']].text
            cells.append(f'{number}{suffix}: {text}')
            cells.append(_error(row['madds_as_paper'], paper))
        elif differs:
            cells += ['', '']
        if metric:
            cells.append(f'{row["paper_accuracy"]:.{2 if metric == "mIOU" else 1}f}')
        lines.append(table_line(cells))
    lines += [
        '',
        f'Parameters {"with" if with_norm else "without"} those of batch norm. '
        f'{"Cells and accuracies" if metric else "Cells"} of the {origin}: '
        f'{rows[0]["source"]}'
        + ('; no accuracy was measured here.' if metric else '.'),
    ]
    if notes:
        lines += ['', *(f'{i}. {note}' for i, note in enumerate(notes, 1))]
    return lines


def _number(value: float) -> str:
    """Four digits or so."""
    return f'{value:.{3 if value < 10 else 2 if value < 100 else 1}f}'


def _error(counted: float, paper: float) -> str:
    return f'{100 * (counted / paper - 1):+.1f} %'


def table_line(cells: Iterable[object]) -> str:
    """A row of a Markdown table."""
    return '| ' + ' | '.join(map(str, cells)) + ' |'


def _table3(rows: list[Result]) -> list[str]:
    head = ['channels/kB', *(f'{side}x{side}' for side in RESOLUTIONS), 'largest']
    lines = [table_line(head), table_line(['---'] * len(head))]
    for column in COLUMNS:
        own = [row for row in rows if row['column'] == column.name]
        pairs = [(row['channels'], row['kilobytes']) for row in own]
        cells = [f'{c}/{kb:.4g}' if c else '-' for c, kb in pairs]
        top = max(kb for _, kb in pairs if kb)
        lines.append(table_line([f'{column.name}: counted', *cells, f'{top:.4g}']))
        if column.paper:
            cells = [f'{channels}/{kb}' for channels, kb in column.paper]
            largest = column.paper_largest or max(kb for _, kb in column.paper)
            lines.append(table_line(['... in the paper', *cells, largest]))
    return [
        *lines,
        '',
        'Tensors between blocks, kB of 1000 bytes. The paper leaves out the '
        'first layer (computed in one stream with the block after it), and '
        'so do the counts unless they say otherwise. Its MobileNetV2 rows 56 '
        "to 7 have the next resolution's channels; its ShuffleNet column is "
        'g=2, not g=3 as captioned; its 199 is twice the right value.',
    ]


def update(
    path: str | Path, content: str, *, section: str = SECTION, write: bool = True
) -> bool:
    """Put text between the markers of a section of a Markdown file.

    The markers are ``<!-- SECTION:begin -->`` and ``<!-- SECTION:end -->``. Returns
    whether the file differed; without ``write`` it is only compared.

    Raises:
        InputError: the file is missing or has no markers.
    """
    path = Path(path)
    first, last = f'<!-- {section}:begin -->', f'<!-- {section}:end -->'
    if not path.is_file():
        raise InputError(f'there is no file {path} to write the tables into')
    text = path.read_text(encoding='utf-8')
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise InputError(f'{path} lacks its markers; put {first} and {last} into it')
    new = f'{before}{first}\n\n{content}\n{last}{after}'
    if write and new != text:
        write_text(path, new)
    return new != text


def plain_text(text: str) -> str:
    """Format what :func:`markdown` returns for a terminal, without links."""
    lines: list[str] = []
    table: list[list[str]] = []
    for line in [*text.splitlines(), '']:
        if line.startswith('|'):
            if not _RULE.fullmatch(line):
                line = _MARK.sub(r' [\1]', _LINK.sub(r'\1', line))
                cells = line.strip('|').split('|')
                table.append([cell.strip() for cell in cells])
            continue
        lines += aligned(table)
        table = []
        note = re.match(r'(\d+)\. ', line)
        if line.startswith('#'):
            line = line.lstrip('# ')
            lines += ['=' * len(line), line, '=' * len(line)]
        elif note:
            lines.append(f'[{note[1]}] {line[note.end() :]}')
        elif line or (lines and lines[-1]):
            lines.append(line)
    return '\n'.join(lines)


def aligned(table: list[list[str]]) -> list[str]:
    """Lines of a table: its first row underlined, its first column to the left."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        _, *cells = map(str.rjust, row, widths)
        lines.append('  '.join([row[0].ljust(widths[0]), *cells]).rstrip())
    rule = ['-' * (sum(widths) + 2 * (len(widths) - 1))] if table else []
    return [*lines[:1], *rule, *lines[1:]]
