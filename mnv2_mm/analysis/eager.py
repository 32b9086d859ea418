"""Counted tables for a terminal: the Markdown, aligned and without links."""

import re

_LINK = re.compile(r'\[([^\]]+)\]\([^)]+\)')
_MARK = re.compile(r' <sup>(\d+)</sup>')
_RULE = re.compile(r'\| (--- \| )*--- \|')


def plain(text: str) -> str:
    """Markdown as :func:`~mnv2_mm.analysis.markdown.markdown` writes it.

    Columns are padded to one width, the first to the left and the others to
    the right; ``[1]`` refers to a note below its table.
    """
    lines: list[str] = []
    table: list[list[str]] = []
    for line in [*text.splitlines(), '']:
        if line.startswith('|'):
            if not _RULE.fullmatch(line):
                line = _MARK.sub(r' [\1]', _LINK.sub(r'\1', line))
                cells = line.strip('|').split('|')
                table.append([cell.strip() for cell in cells])
            continue
        lines += _aligned(table)
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


def _aligned(table: list[list[str]]) -> list[str]:
    """Lines of a table, its first row underlined."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        '  '.join(
            cell + ' ' * (width - len(cell))
            if index == 0
            else ' ' * (width - len(cell)) + cell
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    rule = ['-' * (sum(widths) + 2 * (len(widths) - 1))] if table else []
    return [*lines[:1], *rule, *lines[1:]]
