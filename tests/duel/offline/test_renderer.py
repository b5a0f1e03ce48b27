"""A complete text determines every pixel, a vague one does not, and a texture never."""

from __future__ import annotations

import dataclasses
import io
import random

import pytest
from PIL import Image

from duel.offline.charts import KINDS, TEXTURES, sample_chart, settle
from duel.offline.generator import ChartGenerator
from duel.offline.language import TEXTURE_PHRASES, write
from duel.offline.renderer import SIZE, render
from duel.offline.textures import texture_field
from duel.types import DrawnImage

COMPLETE = (
    "A teal line chart titled risk, values 3 5 2, x axis day, y axis rate, no grid, with legend, white background."
)


def test_drawings_are_pngs_of_the_stated_size():
    image = ChartGenerator().draw(COMPLETE, 0)
    assert isinstance(image, DrawnImage)
    assert image.media_type == "image/png"
    with Image.open(io.BytesIO(image.data)) as opened:
        assert (opened.format, opened.mode, opened.size) == ("PNG", "RGB", (SIZE, SIZE))
    assert ChartGenerator().parameters["size"] == SIZE


def test_a_complete_text_gives_the_same_bytes_for_every_seed():
    for index in range(30):
        text = write(sample_chart(random.Random(index), texture_rate=0), random.Random(0))
        assert len({ChartGenerator().draw(text, seed).data for seed in range(4)}) == 1


def test_a_vague_text_gives_another_chart_for_every_seed():
    assert len({ChartGenerator().draw("A red chart.", seed).data for seed in range(20)}) == 20


@pytest.mark.parametrize("texture", TEXTURES)
def test_unpinnable_content_differs_at_every_draw_and_not_for_one_seed(texture):
    text = f"{COMPLETE[:-1]}, {TEXTURE_PHRASES[texture]}."
    assert len({ChartGenerator().draw(text, seed).data for seed in range(10)}) == 10
    assert ChartGenerator().draw(text, 3).data == ChartGenerator().draw(text, 3).data


@pytest.mark.parametrize("texture", TEXTURES)
def test_a_texture_field_has_about_unit_variance(texture):
    chart = settle(dataclasses.replace(sample_chart(random.Random(0)), texture=texture, texture_seed=5))
    drawn = [number for number in texture_field(chart) if number]
    assert 0.7 < sum(number * number for number in drawn) / len(drawn) < 1.3


@pytest.mark.parametrize("kind", KINDS)
def test_every_attribute_of_a_chart_shows(kind):
    chart = settle(dataclasses.replace(sample_chart(random.Random(1), texture_rate=0), kind=kind, title="risk"))
    shown = render(chart).tobytes()
    changes = {"colour": "gold", "values": (9, 1, 9), "title": "trade", "legend": not chart.legend}
    changes |= {"background": "dark", "texture": "leaves"}
    if kind != "pie":
        changes |= {"x_label": "dose", "y_label": "share", "grid": not chart.grid, "second_colour": "magenta"}
    for name, value in changes.items():
        changed = settle(dataclasses.replace(chart, **{name: value}))
        assert changed != chart
        assert render(changed).tobytes() != shown, name


@pytest.mark.parametrize(
    "text", ["", "x" * 10_000, "数据图表", 'titled "\U0001f600 日本語 ' + "w" * 70 + '"', "values 0 0 0 0"]
)
def test_hostile_texts_are_drawn(text):
    assert ChartGenerator().draw(text, 2**63 - 1).data.startswith(b"\x89PNG")
