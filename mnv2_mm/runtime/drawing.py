"""Draw boxes, masks and classes on images, with OpenCV.

Text and lines follow the size of the image. The hosts' visualizers draw text of one
size, labels over labels, and need torch and matplotlib.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from mnv2_mm.runtime.lettering import Color, fit, printable, write

_SHORT_SIDE = 480  # pixels; smaller images are enlarged for drawing
_LONG_SIDE = 1920  # but not beyond this
_TOP = 5  # classes of a classification that are drawn
_LEGEND = 24  # classes that it lists


def draw(
    image: np.ndarray,
    found: Mapping[str, np.ndarray],
    info: Mapping,
    *,
    score_thr: float = 0.3,
) -> np.ndarray:
    """Draw a prediction, or the truth, on a copy of its image.

    Args:
        image: (H, W, 3) uint8, BGR as OpenCV reads it.
        found: What :class:`~mnv2_mm.runtime.model.ExportedModel` returns; truth has no
            ``scores``, and ``labels`` in place of ``probabilities``. A mask may have
            another size than the image.
        info: ``classes`` (names) and ``palette`` (RGB), as in model.json or the
            metainfo of a data set; default: numbers, and a color for each.
        score_thr: Boxes with a lower score are not drawn.

    Returns:
        (H, W, 3) uint8 BGR; a small image is enlarged, classes are listed below.
    """
    short, long = sorted(image.shape[:2])
    factor = max(1.0, min(_SHORT_SIDE / short, _LONG_SIDE / long))
    size = [round(side * factor) for side in image.shape[1::-1]]
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    classes, palette = info.get('classes') or (), info.get('palette') or ()
    # a data set of other classes has the colors of those that it was made for
    fits = len(palette) == len(classes) if classes else len(palette) > 0
    if isinstance(palette, str) or not fits:
        palette = default_palette(len(classes) or 64)
    colors = np.array(palette, np.uint8)[:, ::-1]
    if 'mask' in found:
        _draw_mask(canvas, found['mask'], classes, colors)
    elif 'boxes' in found:
        boxes = np.nan_to_num(found['boxes'].astype(float), posinf=1e9, neginf=-1e9)
        _draw_boxes(
            canvas, {**found, 'boxes': boxes * factor}, classes, colors, score_thr
        )
    else:
        shares = found.get('probabilities', np.zeros(0))
        best = np.argsort(-shares, kind='stable')[:_TOP]
        labels = best if len(best) else found['labels'][:_TOP]
        scores = shares[best] if len(best) else [None] * len(labels)
        rows = [
            (_name(classes, label, score), colors[label % len(colors)])
            for label, score in zip(labels.tolist(), scores, strict=True)
        ]
        capital = _text_size(canvas)
        strip = round(1.8 * capital * (min(_TOP, len(classes) or _TOP) + 0.7))
        canvas = np.pad(canvas, ((0, strip), (0, 0), (0, 0)))
        _draw_list(canvas[-strip:], capital, rows, shares[best].tolist())
    return canvas


def beside(images: Mapping[str, np.ndarray]) -> np.ndarray:
    """Put drawn images of one height next to each other, each under its title."""
    parts = []
    for title, image in images.items():
        size = _text_size(image)
        pad = round(size / 2)
        strip = np.full((round(size) + 2 * pad, image.shape[1], 3), 40, np.uint8)
        size, _ = fit(title, size, image.shape[1] - 2 * pad)
        write(strip, title, (pad, len(strip) - pad), size, (255, 255, 255))
        parts += [np.vstack([strip, image])]
        parts += [np.full((len(parts[-1]), pad, 3), 255, np.uint8)]
    return np.hstack(parts[:-1])


def class_name(classes: Sequence[str], label: int) -> str:
    """Class name, or the number where there is none."""
    return str(classes[label]) if label < len(classes) else f'class {label}'


def default_palette(count: int) -> list[Color]:
    """Return ``count`` distinct colors (RGB)."""
    index = np.arange(count)
    hue = index * 0.618034 % 1 * 179
    saturation = np.array([200, 150, 230])[index % 3]
    value = np.array([240, 255, 170])[index % 3]
    hsv = np.stack([hue, saturation, value], axis=-1).astype(np.uint8)
    rgb = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    return [(int(r), int(g), int(b)) for r, g, b in rgb]


def text_color(fill: Sequence[int]) -> Color:
    """Black or white, which of them has more contrast to a BGR color (WCAG 2)."""
    luminance = (np.asarray(fill) / 255) ** 2.2 @ (0.0722, 0.7152, 0.2126)
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def place_labels(
    boxes: np.ndarray, sizes: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Find places for labels that do not overlap, at their boxes, first come first.

    Args:
        boxes: (n, 4) as x1, y1, x2, y2 in pixels.
        sizes: (n, 2) width and height of the labels.
        shape: Rows and columns of the image.

    Returns:
        (n, 4) as x1, y1, x2, y2; zeros where there is no room.
    """
    places = np.zeros((len(boxes), 4), int)
    for row, ((x1, y1, x2, y2), (width, height)) in enumerate(
        zip(boxes, sizes, strict=True)
    ):
        lefts = x1, x2 - width, (x1 + x2 - width) / 2
        tops = y1 - height, y1, y2, y2 - height, (y1 + y2 - height) / 2
        spots = np.array(
            [(x, y) for y in tops for x in lefts]
            + [(x, y) for y in tops[1::2] for x in (x2, x1 - width)]
        )
        room = np.array([shape[1] - width, shape[0] - height])
        starts = np.clip(spots, 0, np.maximum(room, 0)).astype(int)
        ends, taken = starts + np.array([width, height]), places[:row, None]
        free = (starts >= taken[..., 2:]) | (ends <= taken[..., :2])
        good = np.flatnonzero(free.any(-1).all(0) & (room >= 0).all())
        if len(good):
            places[row] = *starts[good[0]], *ends[good[0]]
    return places


def _draw_boxes(
    canvas: np.ndarray,
    found: Mapping[str, np.ndarray],
    classes: Sequence[str],
    colors: np.ndarray,
    score_thr: float,
) -> None:
    """Draw all boxes, then their labels; the best scores get the best places."""
    scores = found.get('scores')
    order: np.ndarray = np.arange(len(found['boxes']))
    if scores is not None:
        order = np.argsort(-scores, kind='stable')
        order = order[scores[order] >= score_thr]
    # smaller where there are many
    size = _text_size(canvas) * min(1, max(0.7, (10 / max(len(order), 1)) ** 0.25))
    half = max(1, round(size / 8))  # of the line
    reach, pad = half + max(1, half // 4), size * 0.45
    last = np.array(canvas.shape[1::-1] * 2) - 1
    boxes = np.clip(found['boxes'][order], 0, last).round().astype(int)
    labels = found['labels'][order].tolist()
    fills = [tuple(map(int, colors[label % len(colors)])) for label in labels]
    for box, fill in zip(boxes[::-1].tolist(), fills[::-1], strict=True):
        for color, width in ((text_color(fill), 2 * reach), (fill, 2 * half)):
            cv2.rectangle(canvas, box[:2], box[2:], color, width)
    shown = [None] * len(order) if scores is None else scores[order]
    texts = [_name(classes, *pair) for pair in zip(labels, shown, strict=True)]
    fits = [fit(text, size, canvas.shape[1] - 2 * pad) for text in texts]
    sizes = np.array([(width + 2 * pad, size + 2 * pad) for _, width in fits])
    outer = boxes + np.array([-reach, -reach, reach, reach])
    places = place_labels(outer, sizes.round().astype(int), canvas.shape[:2])
    rows = zip(places.tolist(), texts, fits, fills, strict=True)
    for (x1, y1, x2, y2), text, (own, _), fill in rows:
        if x2:
            canvas[y1:y2, x1:x2] = fill
            write(canvas, text, (x1 + pad, y2 - pad), own, text_color(fill))


def _draw_mask(
    canvas: np.ndarray, mask: np.ndarray, classes: Sequence[str], colors: np.ndarray
) -> None:
    """Color the regions of all classes but background, with a legend."""
    mask = mask.astype(np.uint16)
    size = canvas.shape[1::-1]
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    counts = np.bincount(mask.ravel())
    seen = [i for i in np.argsort(-counts, kind='stable').tolist() if counts[i]]
    if classes:  # other labels are those that the truth ignores
        seen = [i for i in seen if i < len(classes) and classes[i] != 'background']
    table = np.resize(colors, (len(counts), 3))
    regions = np.isin(np.arange(len(counts)), seen).astype(np.uint8)[mask]
    blend = cv2.addWeighted(canvas, 0.5, table[mask], 0.5, 0)
    cv2.copyTo(blend, regions, canvas)
    side = max(3, round(_text_size(canvas) / 5))
    border = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((side, side), np.uint8))
    canvas[border > 0] = 255
    rows = [(_name(classes, i), table[i]) for i in seen[:_LEGEND]]
    if len(seen) > _LEGEND:
        rows.append((f'and {len(seen) - _LEGEND} more', np.zeros(3)))
    room = len(canvas) / (1.8 * (len(rows) + 1))
    _draw_list(canvas, min(_text_size(canvas), room), rows)


def _draw_list(
    canvas: np.ndarray,
    size: float,
    rows: Sequence[tuple[str, np.ndarray]],
    shares: Sequence[float] = (),
) -> None:
    """List texts with their colors, or bars of these lengths, in a dark corner."""
    row = max(1, int(1.8 * size))
    bar = 4 if len(shares) else 1
    fits = [fit(text, size, canvas.shape[1] - (bar + 2) * row) for text, _ in rows]
    wide = round(max((x for _, x in fits), default=0) + (bar + 1.2) * row)
    first = row // 3
    panel = canvas[first : first + len(rows) * row, first : first + wide * bool(rows)]
    panel //= 4
    lengths = shares if len(shares) else [1.0] * len(rows)
    lines = enumerate(zip(rows, fits, lengths, strict=True))
    for y, ((text, color), (own, _), length) in lines:
        end = first + round(bar * row * float(length))
        top, low = y * row + row // 5, (y + 1) * row - row // 5
        panel[top:low, first:end] = color
        fill = tuple(map(int, color))
        if any(fill) and text_color(fill) != (0, 0, 0):  # dark as the corner is
            cv2.rectangle(panel, (first, top), (end - 1, low - 1), (255, 255, 255), 1)
        corner = first + (bar + 0.3) * row, y * row + (row + size) / 2
        write(panel, text, corner, own, (255, 255, 255))


def _name(classes: Sequence[str], label: int, score: float | None = None) -> str:
    """Text of a label; the number of the class where no font has its letters."""
    text = printable(class_name(classes, label)) or class_name((), label)
    return text if score is None else f'{text} {100 * score:.0f} %'


def _text_size(canvas: np.ndarray) -> float:
    """Height of capitals in pixels: a fixed part of the image."""
    height, width = canvas.shape[:2]
    return max(8.0, min((height * width) ** 0.5 / 45, height / 16))
