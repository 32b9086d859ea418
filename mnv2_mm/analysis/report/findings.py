"""What the report says of a model, whatever its task: figures in words and tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mnv2_mm.analysis.report.collect import Sample
from mnv2_mm.analysis.report.figures import Drawing, draw_matrix
from mnv2_mm.datasets.checks.source import listed

_PAIRS = 10  # of confused classes
_ROWS = 100  # of the table of classes


class Bar(NamedTuple):
    """A cell of a table with a bar behind its text."""

    text: str
    share: float  # 0 to 1


class Section(NamedTuple):
    """A part of the page; what is empty is left out.

    The first ``words`` columns are text, the others are numbers.
    """

    title: str
    text: str
    drawings: Sequence[Drawing] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str | Bar]] = ()
    words: int = 1


class Ranked(NamedTuple):
    """An image with what is right and wrong in it."""

    sample: Sample
    caption: str


class Findings(NamedTuple):
    """The result of an analysis.

    Attributes:
        metric, value, meaning: Name of the headline metric, its value, one line.
        sentence: The result in words.
        sections: Parts of the page.
        ranked: Images, the worst one first.
        threshold: Score from which boxes count; None without boxes.
    """

    metric: str
    value: str
    meaning: str
    sentence: str
    sections: list[Section]
    ranked: list[Ranked]
    threshold: float | None = None


def percent(share: float, template: str = '{:.1%}') -> Bar:
    """A share of 1 as a cell; nan (nothing to count) as a dash."""
    return Bar('-', 0) if np.isnan(share) else Bar(template.format(share), share)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Element-wise ratio, nan where ``whole`` is 0."""
    out = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=out, where=np.asarray(whole) > 0)


def worst_first(values: np.ndarray) -> np.ndarray:
    """Numbers of the classes for a table, without those that have no value."""
    return np.argsort(values, kind='stable')[: min(_ROWS, np.isfinite(values).sum())]


def without_truth(classes: Sequence[str], counts: np.ndarray) -> str:
    """A sentence about the classes that the test set does not have."""
    names = [name for name, n in zip(classes, counts, strict=True) if not n]
    return f' Not tested, as the test set has none: {listed(names)}.' if names else ''


def confusion_sections(
    matrix: np.ndarray,
    classes: Sequence[str],
    *,
    unit: str,
    extra: tuple[str, str] | None = None,
) -> list[Section]:
    """Confusion matrix, and the pairs of classes that are confused most.

    Args:
        matrix: (truth, prediction), counts.
        classes: Names.
        unit: What is counted, such as 'images'.
        extra: Names of a last row and a last column that are no classes.
    """
    rows, columns = [*classes, *(extra or ())[:1]], [*classes, *(extra or ())[1:]]
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind='stable')[:_PAIRS]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    return [
        Section(
            'Confusion matrix',
            'Rows are the truth, columns the prediction, in percent of each row. A '
            'perfect model has 100 in each field of the diagonal.',
            [draw_matrix(shares, rows, columns, classes=len(classes))],
        ),
        Section(
            'Most confused',
            f'What is taken for what, most {unit} first.',
            columns=['truth', 'prediction', unit, 'share of the truth'],
            rows=[
                [rows[i], columns[j], f'{wrong[i, j]:,}', percent(shares[i, j])]
                for i, j in pairs
                if wrong[i, j]
            ],
            words=2,
        ),
    ]
