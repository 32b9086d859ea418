"""Write the report as one HTML page that needs no other file and no network.

Jinja2, which torch installs, fills page.html.jinja and escapes names of classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jinja2
import numpy as np

from mnv2_mm.analysis.report.collect import Sample, mask_of
from mnv2_mm.analysis.report.figures import Drawing, data_address
from mnv2_mm.analysis.report.findings import Findings, Ranked
from mnv2_mm.runtime.drawing import beside, draw
from mnv2_mm.runtime.read_image import read_image
from mnv2_mm.utils.errors import InputError

_WIDTH = 1000  # pixels of an image pair
_BYTES = 3_000_000  # of all image pairs


def draw_images(
    ranked: Sequence[Ranked], info: Mapping, *, threshold: float | None
) -> list[tuple[Drawing, str, str]]:
    """Draw truth beside prediction.

    Args:
        ranked: Images with their captions.
        info: ``classes`` and ``palette`` of the data set.
        threshold: Boxes with a lower score are not drawn.

    Returns:
        Drawing, name of the image file and caption of each image; images that are no
        longer there or have no path are left out.
    """
    found = []
    for sample, caption in ranked:
        try:
            pair = _pair(sample, info, threshold or 0)
        except InputError:  # moved since, or an image that a data set makes
            continue
        name = Path(sample.path).name
        jpeg = _jpeg(pair, _BYTES // len(ranked))
        alt = f'{name}: ground truth and prediction. {caption}'
        found.append((Drawing(data_address('jpeg', jpeg), alt), name, caption))
    return found


def _pair(sample: Sample, info: Mapping, threshold: float) -> np.ndarray:
    """Truth and prediction next to each other, (H, W, 3) BGR."""
    image = read_image(sample.path)
    parts = {'ground truth': dict(sample.truth), 'prediction': dict(sample.found)}
    for part in parts.values():
        if 'png' in part:
            part['mask'] = mask_of(part)
    if 'true_score' in sample.found:  # only the best classes were kept
        count = max(len(info.get('classes') or ()), sample.found['labels'].max() + 1)
        shares = np.zeros(count)
        shares[sample.found['labels']] = sample.found['scores']
        parts['prediction'] = {'probabilities': shares}
    return beside(
        {
            title: draw(image, part, info, score_thr=threshold)
            for title, part in parts.items()
        }
    )


def _jpeg(image: np.ndarray, limit: int) -> bytes:
    """Encode with the best quality that stays below ``limit`` bytes."""
    height = round(image.shape[0] * _WIDTH / image.shape[1])
    image = cv2.resize(image, (_WIDTH, height), interpolation=cv2.INTER_AREA)
    for quality in (85, 70, 50, 30):
        data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if len(data) <= limit:
            break
    return data.tobytes()


def render(
    findings: Findings,
    *,
    title: str,
    subtitle: str,
    facts: Mapping[str, str],
    training: Iterable[Drawing],
    worst: Sequence[tuple],
    best: Sequence[tuple],
    tables: Mapping[str, Mapping[str, str]],
    commands: Mapping[str, str],
) -> str:
    """Fill the page.

    Args:
        findings: Of an analysis.
        title, subtitle: Head of the page.
        facts: Short figures beside the headline, by name.
        training: Curves of the training.
        worst, best: Of :func:`draw_images`.
        tables: Values by name, by the heading of the table.
        commands: What each does: the command line.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    values: dict[str, Any] = dict(
        findings=findings,
        title=title,
        subtitle=subtitle,
        facts=facts,
        training=list(training),
        images={'Worst images': worst, 'Best images': best},
        tables=tables,
        commands=commands,
    )
    return environment.get_template('page.html.jinja').render(values)
