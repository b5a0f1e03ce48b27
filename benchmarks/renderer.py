"""Rendering time per chart, text to PNG, on one core: `python benchmarks/renderer.py`."""

from __future__ import annotations

import argparse
import time

from duel.offline.charts import sample_chart
from duel.offline.generator import ChartGenerator
from duel.offline.language import TEXTURE_PHRASES, invent, write
from duel.randomness import stream


def draw_time(texts: list[str]) -> tuple[float, float]:
    """Return median and 99th percentile of the time per draw in milliseconds; checks that the output is PNG."""
    generator = ChartGenerator()
    generator.draw(texts[0], 0)  # loads the font
    times = []
    for seed, text in enumerate(texts):
        started = time.perf_counter()
        image = generator.draw(text, seed)
        times.append(1e3 * (time.perf_counter() - started))
        assert image.data.startswith(b"\x89PNG")
    times.sort()
    return times[len(times) // 2], times[len(times) * 99 // 100]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=500, help="draws per line")
    arguments = parser.parse_args()
    indices = range(arguments.draws)
    complete = [write(sample_chart(stream(0, index)), stream(1, index)) for index in indices]
    cases = {"complete texts": complete, "invented prompts": [invent(stream(2, index)) for index in indices]}
    cases |= {phrase: [f"{text[:-1]}, {phrase}." for text in complete] for phrase in TEXTURE_PHRASES.values()}
    print(f"one draw, text to PNG, {arguments.draws} each (required: at most 15 ms)")
    for name, texts in cases.items():
        median, high = draw_time(texts)
        print(f"  {name:<20} median {median:5.2f} ms   99 % {high:6.2f} ms")


if __name__ == "__main__":
    main()
