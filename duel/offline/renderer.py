"""Renders a Chart to pixels with Pillow only.

Images are 224 x 224 pixels: a common input size of vision transformers, a multiple of both models' patch size, large
enough for a title of 17 pixels, small enough to render and compress in a few milliseconds. Shapes are drawn at twice
the size and averaged down; text is drawn at the final size, antialiased by FreeType.
"""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from duel.offline.charts import Chart
from duel.offline.textures import bend, paint_behind, paint_cloud

SIZE = 224
SCALE = 2  # oversampling of shapes
LEFT, TOP, RIGHT, BOTTOM = 44, 48, 214, 180  # the plotting area, in pixels
AXIS_END = 10
PIE_CENTRE, PIE_RADIUS = (112, 119), 72
PIE_KEY_LEFT = 12
LEGEND_LEFT, LEGEND_STEP = 66, 68

Pixel = tuple[int, int, int]
Point = tuple[float, float]

PALETTE: dict[str, Pixel] = {
    "red": (214, 39, 40), "blue": (42, 98, 214), "green": (36, 150, 62), "orange": (244, 136, 20),
    "purple": (128, 62, 176), "pink": (240, 128, 186), "teal": (24, 170, 176), "black": (28, 28, 30),
    "brown": (130, 82, 50), "olive": (140, 142, 30), "navy": (24, 34, 110), "gold": (222, 184, 30),
    "magenta": (212, 20, 150), "salmon": (250, 148, 122),
}  # fmt: skip
PAPER: dict[str, Pixel] = {
    "white": (255, 255, 255), "cream": (253, 243, 208), "grey": (221, 222, 226), "mint": (212, 242, 222),
    "sky": (198, 226, 252), "dark": (58, 62, 74),
}  # fmt: skip


def render(chart: Chart) -> Image.Image:
    """Return the chart as an RGB image, SIZE x SIZE; equal charts give equal pixels."""
    paper = PAPER[chart.background]
    ink: Pixel = (245, 245, 245) if chart.background == "dark" else (30, 30, 36)
    canvas = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE), paper)
    draw = ImageDraw.Draw(canvas)
    paint_behind(draw, chart, SIZE * SCALE)
    if chart.kind == "pie":
        draw_pie(draw, chart, paper)
    else:
        draw_axes(draw, chart, mix(paper, ink, 0.3), ink)
        if chart.second_colour:
            draw_series(draw, chart, chart.second_values, PALETTE[chart.second_colour], 1)
        draw_series(draw, chart, chart.values, PALETTE[chart.colour], 0)
    if chart.texture == "cloud":
        box = (LEFT * SCALE, TOP * SCALE, RIGHT * SCALE, BOTTOM * SCALE)
        paint_cloud(draw, chart, box, mix(PALETTE[chart.colour], ink, 0.45))
    draw_legend_marks(draw, chart)
    image = canvas.reduce(SCALE)
    draw_text(image, chart, ink)
    return bend(image, chart, paper) if chart.texture == "sketch" else image


def encode(image: Image.Image) -> bytes:
    """Return the image as PNG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def mix(one: Pixel, other: Pixel, share: float) -> Pixel:
    """Return a blend of two colours with `share` of `other`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def scaled(*points: Point) -> list[Point]:
    """Convert points from final pixels to canvas pixels."""
    return [(x * SCALE, y * SCALE) for x, y in points]


def draw_axes(draw: ImageDraw.ImageDraw, chart: Chart, faint: Pixel, ink: Pixel) -> None:
    """Draw the grid (if any), the two axes and their ticks."""
    flat = chart.kind == "horizontal"
    for tick in range(0, AXIS_END + 1, 2):
        share = tick / AXIS_END
        x, y = LEFT + share * (RIGHT - LEFT), BOTTOM - share * (BOTTOM - TOP)
        if chart.grid:
            draw.line(scaled((x, TOP), (x, BOTTOM)), fill=faint, width=SCALE)
            draw.line(scaled((LEFT, y), (RIGHT, y)), fill=faint, width=SCALE)
        ends = ((x, BOTTOM), (x, BOTTOM + 3)) if flat else ((LEFT - 3, y), (LEFT, y))
        draw.line(scaled(*ends), fill=ink, width=SCALE)
    draw.line(scaled((LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)), fill=ink, width=SCALE + 1)


def slot(chart: Chart, index: int) -> tuple[float, float]:
    """Return start and width, in pixels along the category axis, of the slot of the value at `index`."""
    length = BOTTOM - TOP if chart.kind == "horizontal" else RIGHT - LEFT
    width = length / len(chart.values)
    return index * width, width


def draw_series(draw: ImageDraw.ImageDraw, chart: Chart, values: tuple[int, ...], colour: Pixel, number: int) -> None:
    """Draw one series (`number` 0 or 1) in the style of the chart's kind."""
    if chart.kind in ("bar", "horizontal"):
        draw_bars(draw, chart, values, colour, number)
        return
    points: list[Point] = []
    for index, value in enumerate(values):
        begin, width = slot(chart, index)
        points.append((LEFT + begin + width / 2, BOTTOM - value / AXIS_END * (BOTTOM - TOP)))
    if chart.kind == "area":
        foot = [(points[-1][0], float(BOTTOM)), (points[0][0], float(BOTTOM))]
        draw.polygon(scaled(*points, *foot), fill=mix(colour, (255, 255, 255), 0.25))
        draw.line(scaled(*points), fill=colour, width=3 * SCALE, joint="curve")
    elif chart.kind == "line":
        draw.line(scaled(*points), fill=colour, width=3 * SCALE, joint="curve")
    elif chart.kind == "step":
        half = slot(chart, 0)[1] / 2
        draw.line(scaled(*[(x + side, y) for x, y in points for side in (-half, half)]), fill=colour, width=3 * SCALE)
    elif chart.kind == "stem":
        shift = 4 * number
        points = [(x + shift, y) for x, y in points]
        for x, y in points:
            draw.line(scaled((x, BOTTOM), (x, y)), fill=colour, width=2 * SCALE)
    if chart.kind in ("scatter", "stem", "line"):
        radius = {"scatter": 5.0, "stem": 4.0, "line": 3.5}[chart.kind]
        for x, y in points:
            draw.ellipse(scaled((x - radius, y - radius), (x + radius, y + radius)), fill=colour)


def draw_bars(draw: ImageDraw.ImageDraw, chart: Chart, values: tuple[int, ...], colour: Pixel, number: int) -> None:
    """Draw vertical or horizontal bars; two series share each slot."""
    series = 2 if chart.second_colour else 1
    for index, value in enumerate(values):
        begin, width = slot(chart, index)
        thick = width * 0.72 / series
        start = begin + width * 0.14 + number * thick
        if chart.kind == "horizontal":
            end = LEFT + value / AXIS_END * (RIGHT - LEFT)
            corners = scaled((LEFT, TOP + start), (end, TOP + start + thick))
        else:
            height = BOTTOM - value / AXIS_END * (BOTTOM - TOP)
            corners = scaled((LEFT + start, height), (LEFT + start + thick, BOTTOM))
        draw.rectangle(corners, fill=colour)


def pie_angles(chart: Chart) -> list[float]:
    """Return the start angles of the slices in degrees, clockwise from the top, and the end of the last."""
    angles = [-90.0]
    for value in chart.values:
        angles.append(angles[-1] + 360 * value / sum(chart.values))
    return angles


def slice_shade(chart: Chart, index: int) -> Pixel:
    """Return a slice's colour, from the series' colour to a pale one."""
    return mix(PALETTE[chart.colour], (255, 255, 255), 0.6 * index / len(chart.values))


def pie_key_step(chart: Chart) -> int:
    """Return the distance in pixels between entries of the pie's legend."""
    return min(34, (SIZE - PIE_KEY_LEFT) // len(chart.values))


def draw_pie(draw: ImageDraw.ImageDraw, chart: Chart, paper: Pixel) -> None:
    """Draw the slices and the coloured squares of their legend."""
    (x, y), radius = PIE_CENTRE, PIE_RADIUS
    box = scaled((x - radius, y - radius), (x + radius, y + radius))
    angles = pie_angles(chart)
    for index in range(len(chart.values)):
        shade = slice_shade(chart, index)
        draw.pieslice(box, angles[index], angles[index + 1], fill=shade, outline=paper, width=SCALE + 1)
        left = PIE_KEY_LEFT + index * pie_key_step(chart)
        draw.rectangle(scaled((left, 200), (left + 6, 214)), fill=shade)


def draw_legend_marks(draw: ImageDraw.ImageDraw, chart: Chart) -> None:
    """Draw the legend's coloured squares."""
    if chart.legend:
        for number, colour in enumerate([chart.colour, chart.second_colour]):
            if colour:
                x = LEGEND_LEFT + LEGEND_STEP * number
                draw.rectangle(scaled((x, 30), (x + 10, 40)), fill=PALETTE[colour])


def draw_text(image: Image.Image, chart: Chart, ink: Pixel) -> None:
    """Draw title, legend, axis labels and tick labels."""
    size = next((size for size in (19, 15, 12) if text_width(chart.title, size) <= SIZE - 8), 10)
    write_centred(image, chart.title, size, (SIZE // 2, 15), ink)
    if chart.legend:
        for number in range(2 if chart.second_colour else 1):
            write_centred(image, f"series {number + 1}", 12, (LEGEND_LEFT + LEGEND_STEP * number + 36, 36), ink)
    if chart.kind == "pie":
        write_pie_key(image, chart, ink)
        return
    write_centred(image, chart.x_label, 15, ((LEFT + RIGHT) // 2, 209), ink)
    write_centred(image, chart.y_label, 15, (11, (TOP + BOTTOM) // 2), ink, upright=True)
    flat = chart.kind == "horizontal"
    for tick in range(0, AXIS_END + 1, 2):
        share = tick / AXIS_END
        x, y = round(LEFT + share * (RIGHT - LEFT)), round(BOTTOM - share * (BOTTOM - TOP))
        write_centred(image, str(tick), 11, (x, BOTTOM + 11) if flat else (LEFT - 13, y), ink)
    for index in range(len(chart.values)):
        begin, width = slot(chart, index)
        middle = round(begin + width / 2)
        place = (LEFT - 11, TOP + middle) if flat else (LEFT + middle, BOTTOM + 11)
        write_centred(image, str(index + 1), 11, place, ink)


def write_pie_key(image: Image.Image, chart: Chart, ink: Pixel) -> None:
    """Draw each slice's value beside its colour, below the pie."""
    for index, value in enumerate(chart.values):
        left = PIE_KEY_LEFT + index * pie_key_step(chart)
        write_centred(image, str(value), 17, (left + 14, 208), ink)


@lru_cache(maxsize=8)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's embedded font."""
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, ImageFont.FreeTypeFont)
    return loaded


def text_width(text: str, size: int) -> int:
    """Return a text's width in pixels."""
    return round(font(size).getlength(text))


@lru_cache(maxsize=1024)
def text_mask(text: str, size: int, upright: bool) -> Image.Image:
    """Return the text as an 8-bit coverage mask of the font's line height, cut at the image's width."""
    mask = Image.new("L", (max(1, min(text_width(text, size), SIZE - 6)), size + 4))
    ImageDraw.Draw(mask).text((0, 0), text, font=font(size), fill=255)
    return mask.transpose(Image.Transpose.ROTATE_90) if upright else mask


def write_centred(
    image: Image.Image, text: str, size: int, centre: tuple[int, int], ink: Pixel, upright: bool = False
) -> None:
    """Draw a text centred at `centre`; `upright` reads from bottom to top."""
    mask = text_mask(text, size, upright)
    image.paste(ink, (centre[0] - mask.width // 2, centre[1] - mask.height // 2), mask)
