"""Letters beyond ASCII on drawings: a font that has them, else ASCII."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnv2_mm.runtime import lettering
from mnv2_mm.runtime.drawing import draw

pytest.importorskip('matplotlib', reason='it brings a font with Cyrillic letters')


@pytest.fixture
def no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, '_font_file', lambda _: '')


def ink(text: str, shape: tuple[int, int] = (60, 400)) -> np.ndarray:
    page = np.zeros((*shape, 3), np.uint8)
    lettering.write(page, text, (10, 40), 20, (255, 255, 255))
    return page[..., 0]


def test_each_letter_has_its_own_form() -> None:
    assert lettering.printable('собака') == 'собака'
    forms = [ink(letter) for letter in 'собака']
    assert (forms[0] != forms[1]).any() and (forms[3] == forms[5]).all()
    assert all(form.any() for form in forms)


def test_capitals_have_the_height_that_was_asked_for() -> None:
    rows = np.flatnonzero(ink('Ж').max(1) > 127)
    assert rows[-1] - rows[0] + 1 == pytest.approx(20, abs=1)
    assert rows[-1] == pytest.approx(39, abs=1)  # they stand on the corner


def test_a_text_fits_into_its_room() -> None:
    size, width = lettering.fit('собака', 20, 60)
    assert width == pytest.approx(60) and size < 20
    page = np.zeros((60, 400, 3), np.uint8)
    lettering.write(page, 'собака', (10, 40), size, (255, 255, 255))
    columns = np.flatnonzero(page.max((0, 2)) > 60)
    assert columns[0] >= 9 and columns[-1] <= 71


def test_the_letters_of_a_missing_font_are_never_drawn_as_boxes() -> None:
    assert lettering.printable('\u0378 dog') == 'dog'  # no font has this one
    assert lettering.printable('two\nlines\t') == 'two lines'


def test_without_a_font_accents_go_and_a_name_becomes_its_number(no_font: None) -> None:
    assert lettering.printable('Käfer') == 'Kafer'
    page, label = np.full((480, 640, 3), 90, np.uint8), np.array([0])
    found = dict(boxes=np.array([[50.0, 100, 300, 300]]), labels=label)
    infos = [dict(classes=x, palette=[(250, 0, 0)]) for x in (['собака'], ())]
    number, empty = (draw(page, found, info) for info in infos)
    assert (number == empty).all()


def test_names_of_other_letters_are_drawn() -> None:
    page, label = np.full((480, 640, 3), 90, np.uint8), np.array([0])
    found = dict(boxes=np.array([[50.0, 100, 300, 300]]), labels=label)
    dog, cat = (draw(page, found, dict(classes=[x])) for x in ('собака', 'кошка'))
    assert (dog != cat).any()


@settings(max_examples=50, deadline=None)
@given(
    text=st.text(max_size=12),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    corner=st.tuples(st.integers(-50, 80), st.integers(-50, 80)),
    size=st.floats(0.5, 40),
)
def test_any_text_can_be_written_anywhere(
    text: str, shape: tuple[int, int], corner: tuple[int, int], size: float
) -> None:
    page = np.zeros((*shape, 3), np.uint8)
    lettering.write(page, lettering.printable(text), corner, size, (1, 2, 3))
    assert page.shape[:2] == shape


def test_a_font_is_looked_for_once_for_all_scores_of_a_name() -> None:
    lettering._font_with.cache_clear()
    for score in range(50):
        lettering.fit(f'собака {score} %', 20, 500)
    assert lettering._font_with.cache_info().misses == 1
