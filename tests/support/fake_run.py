"""Builds synthetic runs (records, images and logs of any length) for tests of reports and plots."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import random
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw

from artifacts.evaluation.read import read_proxies, read_tests
from artifacts.evaluation.write import checkpoint_test, write_proxy
from artifacts.evaluation.write import write_test as write_checkpoint_test
from artifacts.pdf.round import write_round_pdf
from artifacts.run.directory import RunDirectory
from artifacts.run.metrics import round_metrics
from artifacts.run.records import write_record
from artifacts.run.round_record import RecordedGroup, RecordedRound, record_attempt
from artifacts.run.rounds import write_round
from duel.evaluations import (
    AdversaryEvaluation,
    BaseEvaluation,
    CanaryResult,
    ProxyEvaluation,
    StratumEvaluation,
)
from duel.settings import Settings
from duel.settings.profile import read_settings
from duel.state import StateDirectory
from duel.types import (
    Attempt,
    Completion,
    Drawing,
    DrawnImage,
    Grade,
    Group,
    Player,
    Question,
    RoundRecord,
    UpdateReport,
)

PROMPTS = [
    "a bar chart of rainfall in six cities, blue bars, grid, titled Rainfall",
    "a scatter plot with a leafy background and two hundred points in clouds",
    "a line chart of temperature over twelve months with a legend at the top right",
    "a pie chart of market shares with five slices, red, green, gold, blue and grey",
]
WORDS = "the bars show rising values across categories with labels legend axis ticks in muted colours".split()


class Images:
    """An in-memory image store with at most `distinct` different images."""

    def __init__(self, distinct: int = 10**9) -> None:
        self.held: dict[str, DrawnImage] = {}
        self.distinct = distinct

    def add(self, data: bytes, media_type: str = "image/png") -> str:
        key = hashlib.sha256(data).hexdigest()
        self.held[key] = DrawnImage(data, media_type)
        return key

    def read(self, drawing: Drawing) -> DrawnImage:
        return self.held[drawing.key or ""]


@cache
def picture(seed: int, side: int = 160) -> bytes:
    """Return a small bar chart as PNG."""
    chance = random.Random(seed)
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    bars = chance.randint(3, 7)
    colour = chance.choice(["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd"])
    for bar in range(bars):
        left = 16 + bar * (side - 28) // bars
        top = side - 16 - chance.random() * (side - 50)
        draw.rectangle((left, top, left + (side - 28) // bars - 5, side - 16), fill=colour)
    draw.line((14, 20, 14, side - 15, side - 8, side - 15), fill="black", width=1)
    draw.text((side // 3, 4), f"chart {seed % 100}", fill="black")
    encoded = io.BytesIO()
    image.save(encoded, "PNG")
    return encoded.getvalue()


def completion(text: str, tokens: int = 5, finished: bool = True) -> Completion:
    return Completion(text, " ".join(str(token) for token in range(tokens)), finished)


def update(
    loss: float = 0.25, gradient_norm: float | None = 0.5, groups: int = 1, skipped: int = 0, gap: float = 2.0**-20
) -> UpdateReport:
    return UpdateReport(
        loss, gradient_norm, groups, skipped, 1, 1, logprob_gap_mean=gap / 8, logprob_gap_max=gap, divergence=0.25
    )


def fake_record(
    index: int,
    images: Images | None,
    player: Player | None = None,
    groups: int = 1,
    size: int = 8,
    rounds: int = 60,
    more_words: int = 0,
) -> RoundRecord:
    """Return a plausible round: similarity rises with `index`, with noise."""
    player = player or ("base" if index % 2 == 0 else "adversary")
    chance = random.Random(index)
    made = [_group(index, number, size, player, images, chance, rounds, more_words) for number in range(groups)]
    asked = len({a.original for g in made for a in g.attempts} | {a.reconstruction for g in made for a in g.attempts})
    return RoundRecord(
        index,
        player,
        made,
        update(chance.gauss(0, 0.1), chance.random(), groups, gap=chance.uniform(1e-6, 4e-6)),
        asked,
    )


def _group(
    index: int,
    number: int,
    size: int,
    player: Player,
    images: Images | None,
    chance: random.Random,
    rounds: int,
    more_words: int,
) -> Group:
    def drawing(text: str, seed: int) -> Drawing:
        key = f"{seed:064x}" if images is None else images.add(picture(seed % images.distinct))
        return Drawing(text, seed, key)

    prompt = chance.choice(PROMPTS)
    shared = drawing(prompt, index * 1000 + number)
    attempts, completions = [], []
    for place in range(size):
        original = shared if player == "base" else drawing(f"{prompt}, version {place}", index * 1000 + place * 7 + 500)
        text = f"A chart with {place + 3} bars on a white background; the title reads chart {place}. " * chance.randint(
            1, 3
        )
        text += " ".join(chance.choices(WORDS, k=more_words))
        similarity = similarity_at(index, rounds, chance)
        reward = similarity if player == "base" else 1 - similarity
        attempts.append(Attempt(original, drawing(text, index * 1000 + place + 100), similarity, reward))
        completions.append(completion(text if player == "base" else original.text, chance.randint(8, 40)))
    return Group(completions, attempts)


def similarity_at(index: int, rounds: int, chance: random.Random) -> float:
    mean = 0.62 + 0.28 * (1 - math.exp(-3 * index / rounds))
    return min(0.999, max(-0.2, chance.gauss(mean, 0.07)))


def fake_run(
    state: Path,
    name: str = "duel",
    rounds: int = 60,
    every: int = 10,
    adversary: bool = True,
    recorded: int = 6,
    **settings: object,
) -> RunDirectory:
    """Return a finished run of `rounds` rounds; only the first two and last `recorded` rounds have directories."""
    values: dict[str, object] = {"rounds": rounds, "evaluation": {"every": every}, **settings}
    if not adversary:
        values |= {"order": ["base"], "originals": "dataset"}
    with RunDirectory.open(StateDirectory(state), name, fake_settings(values)) as run:
        _write_logs(run, rounds, adversary, recorded)
        for done in sorted({0, rounds, *range(every, rounds + 1, every)}):
            write_evaluation(run, done, rounds, adversary)
            write_test(run, done, rounds, adversary)
    return run


def fake_settings(values: dict[str, object]) -> Settings:
    return read_settings(values)


def _write_logs(run: RunDirectory, rounds: int, adversary: bool, recorded: int) -> None:
    images, metrics, timings = Images(), [], []
    for index in range(rounds):
        player: Player = "adversary" if adversary and index % 2 else "base"
        whole = index < 2 or index >= rounds - recorded
        record = fake_record(index, images if whole else None, player, rounds=rounds)
        if whole:
            write_round(run, record, images.read, write_round_pdf)
        metrics.append(json.dumps(round_metrics(record)))
        seconds = {"describe": 1.5, "draw": 0.2, "learn": 0.7}
        timings.append(json.dumps({"round": index, "draws_made": record.draws_asked - 1, "seconds": seconds}))
    run.metrics.write_text("\n".join(metrics) + "\n")
    run.timings.write_text("\n".join(timings) + "\n")


def write_long_run(
    state: Path, rounds: int, name: str = "long", distinct: int = 60, groups: int = 1, **settings: object
) -> RunDirectory:
    """Return a finished run with all its rounds recorded, quickly: `distinct` images at most, linked, and no PDFs."""
    run = fake_run(state, name, rounds, max(rounds // 10, 1), recorded=0, **settings)
    images = Images(distinct)
    pool = state / "pool"
    pool.mkdir(exist_ok=True)
    for index in range(rounds):
        directory = run.round_directory(index)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        record = fake_record(index, images, groups=groups, rounds=rounds, more_words=120)
        linked = [_link_group(directory, number, group, images, pool) for number, group in enumerate(record.groups)]
        recorded = RecordedRound(record.round, record.player, record.draws_asked, record.update, linked)
        write_record(directory / "record.json", recorded, durable=False)
    return run


def _link_group(directory: Path, number: int, group: Group, images: Images, pool: Path) -> RecordedGroup:
    def link(drawing: Drawing, name: str) -> str:
        assert drawing.key is not None
        source = pool / f"{drawing.key}.png"
        if not source.exists():
            source.write_bytes(images.read(drawing).data)
        if not (directory / name).exists():
            (directory / name).hardlink_to(source)
        return name

    shared = len({attempt.original for attempt in group.attempts}) == 1
    return RecordedGroup(
        [
            record_attempt(
                made,
                attempt,
                link(attempt.original, f"group-{number}-drawing" + ("" if shared else f"-{place}") + ".png"),
                link(attempt.reconstruction, f"group-{number}-reconstruction-{place}.png"),
            )
            for place, (made, attempt) in enumerate(zip(group.completions, group.attempts, strict=True))
        ]
    )


def write_evaluation(run: RunDirectory, done: int, rounds: int, adversary: bool = True, held_out: int = 25) -> None:
    chance = random.Random(f"evaluation {done}")
    similarities = [similarity_at(done, rounds, chance) for _ in range(held_out)]
    prompts = None
    if adversary:
        rewards = [0.2 + 0.3 * done / rounds + chance.gauss(0, 0.08) for _ in range(16)]
        prompts = fake_adversary_evaluation(rewards)
    names = {f"{number}.png": similarity for number, similarity in enumerate(similarities)}
    base = dataclasses.replace(fake_base_evaluation(names), canary=fake_canary(1 - 0.05 * done / rounds))
    write_proxy(run, ProxyEvaluation(done, base, prompts))


def fake_canary(mean: float, questions: int = 12) -> CanaryResult:
    names = [f"{number}: How many bars are there?" for number in range(questions)]
    return CanaryResult(names, [mean] * questions, [1 - mean] * questions)


def fake_base_evaluation(
    similarities: Mapping[str, float | None], draws_asked: int = 0, draws_made: int = 0
) -> BaseEvaluation:
    return BaseEvaluation(list(similarities), list(similarities.values()), draws_asked, draws_made)


def fake_adversary_evaluation(rewards: Sequence[float], draws_asked: int = 0) -> AdversaryEvaluation:
    texts = ["a chart"] * len(rewards)
    return AdversaryEvaluation(texts, texts, [1 - reward for reward in rewards], list(rewards), draws_asked, 0)


def add_strata(run: RunDirectory, hard: float) -> None:
    """Give every evaluation of a fake run strata of two charts and two questions each.

    Similarity: 0.9 and 0.7 on common charts, `hard` and `hard` + 0.1 on the two hard strata, 0.2 less at the start.
    """
    for proxy in read_proxies(run):
        assert proxy.base is not None
        less = 0.0 if proxy.rounds_done else 0.2
        values = {"common": [0.9, 0.7], "kind": [hard - less, hard + 0.1 - less], "title": [hard - less] * 2}
        strata = [StratumEvaluation(name, ["000.png", "001.png"], [*found]) for name, found in values.items()]
        write_proxy(run, dataclasses.replace(proxy, base=dataclasses.replace(proxy.base, strata=strata)))
    for test in read_tests(run):
        right = {"common": 1.0, "kind": hard if test.rounds_done else 0.0, "title": 0.5}
        results = [
            dataclasses.replace(test.per_chart_results[0], figure_id=f"{name}-{n}", stratum=name, pass_at_1=share)
            for name, share in right.items()
            for n in range(2)
        ]
        write_checkpoint_test(run, dataclasses.replace(test, strata_results=results))


def write_test(run: RunDirectory, done: int, rounds: int, adversary: bool = True, questions: int = 25) -> None:
    chance = random.Random(f"test {done}")
    skill = 0.31 + (0.12 if adversary else 0.06) * done / rounds
    asked = [Question(str(n), f"test_images/{n}.png", "How many bars are there?", "4", 0) for n in range(questions)]
    grades = []
    for number in range(questions):
        hard = random.Random(number).gauss(0, 0.25)
        scores = [float(chance.random() < min(0.97, max(0.03, skill + hard))) for _ in range(10)]
        grades.append([Grade(score, "4") for score in scores])
    answers = [[completion("4")] * 10] * questions
    write_checkpoint_test(run, checkpoint_test(done, asked, answers, grades))
