"""A fake Hugging Face Hub and GitHub on 127.0.0.1: serves a folder's data sets and raw files, with fault injection."""

from __future__ import annotations

import hashlib
import json
import random
import re
import threading
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from duel.data.charxiv import ARCHIVE, COMMIT, CONSTANTS, DATASET, PINS
from duel.data.download import measure
from duel.offline.charts import Chart, sample_chart
from duel.offline.questions import ask
from duel.offline.renderer import render
from duel.testing.faults import Faults
from duel.testing.serving import Handler, Server

RESOLVE = re.compile(r"/datasets/(?P<file>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
FILE_FAULTS = ("error", "hang", "reset", "cut", "wrong", "endless")  # cut: half the body; wrong: the last byte differs


class HubServer:
    """Serves `folder`/hub/OWNER/NAME/FILE of data sets and `folder`/github/OWNER/NAME/COMMIT/PATH of repositories.

    As on the real Hub, HEAD returns commit, hash and size, and GET redirects to another host, which serves the bytes
    and supports ranges. A fault's stage is the requested file's name. Use it as a context manager.
    """

    def __init__(
        self, folder: Path, *, faults: Faults | None = None, hang_seconds: float = 60.0, port: int = 0
    ) -> None:
        self.folder = folder
        self.faults = faults or Faults()
        self.commit = hashlib.sha1(b"trial hub", usedforsecurity=False).hexdigest()  # in a git commit's form
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._files = Server(type("Files", (HubHandler,), {"service": self}), port, hang_seconds)

    @property
    def url(self) -> str:
        """The value for HF_ENDPOINT."""
        return self._files.url

    @property
    def files_url(self) -> str:
        """Base URL of the redirects: the same server as `localhost`, so that clients see another host."""
        return self.url.replace("127.0.0.1", "localhost")

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that point Duel's downloads here, with the checksums of the annotations served."""
        data = self.folder / "github" / DATASET / COMMIT / "data"
        pins = {name: measure(data / name) for name in PINS}
        return {
            "HF_ENDPOINT": self.url,
            "DUEL_ANNOTATIONS_URL": f"{self.url}/github/{DATASET}",
            "DUEL_ANNOTATIONS_PINS": ",".join(f"{name}:{pin.size}:{pin.sha256}" for name, pin in pins.items()),
        }

    def counts(self) -> dict[str, int]:
        """Return the numbers of requests, bytes sent, range requests, and requests with a user token at either host.

        `tokens_at_files` must stay 0: the token is for the Hub only.
        """
        names = ("requests", "bytes", "ranges", "tokens_at_hub", "tokens_at_files")
        with self._lock:
            return {name: self._counts[name] for name in names}

    def count(self, name: str, number: int = 1) -> None:
        """Add `number` to the counter `name`."""
        with self._lock:
            self._counts[name] += number

    def __enter__(self) -> Self:
        self._files.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._files.stop()


class HubHandler(Handler):
    """Handles GET and HEAD of files."""

    service: HubServer

    def do_HEAD(self) -> None:
        """Return a data set file's metadata as headers."""
        self.service.count("requests")
        match = RESOLVE.fullmatch(unquote(urlsplit(self.path).path))
        self.resolve(match) if match else self.send(404, b"", {})

    def do_GET(self) -> None:
        """Redirect to a data set's file, or send a file's bytes."""
        self.service.count("requests")
        path = unquote(urlsplit(self.path).path)
        match = RESOLVE.fullmatch(path)
        self.resolve(match) if match else self.send_file(self.service.folder / path.lstrip("/"))

    def resolve(self, match: re.Match[str]) -> None:
        """Redirect (302) with a data set file's commit, SHA-256 and size as headers, or respond 404."""
        self.service.count("tokens_at_hub", "Authorization" in self.headers)
        file = self.service.folder / "hub" / match["file"] / match["name"]
        if not file.is_file() or match["revision"] not in ("main", self.service.commit):
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
        pin = measure(file)
        headers = {
            "Location": f"{self.service.files_url}/hub/{match['file']}/{match['name']}",
            "X-Repo-Commit": self.service.commit,
            "X-Linked-Etag": f'"{pin.sha256}"',
            "X-Linked-Size": str(pin.size),
        }
        return self.send(302, b"", headers)

    def send_file(self, file: Path) -> None:
        """Send a file or the requested range of it, or inject a fault."""
        if not file.resolve().is_relative_to(self.service.folder.resolve()) or not file.is_file():
            return self.send(404, b"", {})
        self.service.count("tokens_at_files", "Authorization" in self.headers)
        fault = self.service.faults.pick(file.name, FILE_FAULTS)
        if fault == "error":
            return self.send(500, b"", {})
        if fault == "hang":
            return self.hang()
        if fault == "reset":
            return self.reset()
        if fault == "endless":
            return self.send_endless(200, {})
        data = file.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        if start >= len(data) > 0:
            return self.send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
        return self.send_bytes(data, start, fault)

    def send_bytes(self, data: bytes, start: int, fault: str | None) -> None:
        """Send `data` from byte `start` on; the fault `cut` sends half of it, `wrong` changes the last byte."""
        body = data[start:]
        if fault == "wrong":
            body = body[:-1] + bytes([body[-1] ^ 1])
        sent = body[: len(body) // 2] if fault == "cut" else body
        headers = {"Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.service.count("ranges")
        self.service.count("bytes", len(sent))
        self.send(206 if start else 200, sent, headers, announced=len(body) if fault == "cut" else None)


def write_fake_hub(folder: Path, figures: int = 120, seed: int = 0) -> None:
    """Write the files that HubServer serves: rendered charts, and questions about them in CharXiv's format.

    Figure ids have gaps, as in CharXiv.
    """
    charts = {3 * index + 1: sample_chart(random.Random(f"{seed}/{index}")) for index in range(figures)}
    data = folder / "github" / DATASET / COMMIT / "data"
    for directory in (data, data.parent / "src", folder / "hub" / DATASET):
        directory.mkdir(parents=True, exist_ok=True)
    reasoning = {str(figure): reasoning_entry(figure, chart) for figure, chart in charts.items()}
    descriptive = {str(figure): descriptive_entry(figure, chart) for figure, chart in charts.items()}
    (data / "reasoning_val.json").write_text(json.dumps(reasoning, indent=4))
    (data / "descriptive_val.json").write_text(json.dumps(descriptive, indent=4))
    (data.parent / "src" / CONSTANTS).write_bytes(Path(__file__).with_name(CONSTANTS).read_bytes())
    with zipfile.ZipFile(folder / "hub" / DATASET / ARCHIVE, "w", zipfile.ZIP_DEFLATED) as archive:
        for figure, chart in charts.items():
            archive.writestr(zipfile.ZipInfo(f"images/{figure}.jpg"), jpeg(chart))


def reasoning_entry(figure: int, chart: Chart) -> dict[str, Any]:
    """Return a reasoning question about a chart in CharXiv's format."""
    [question] = ask(chart, 1, random.Random(figure))
    answer = question.answer(chart)
    return {
        "figure_id": figure,
        "query": question.text,
        "answer": answer,
        "inst_category": question.category,
        "qa_source": 1,
    }


def descriptive_entry(figure: int, chart: Chart) -> dict[str, Any]:
    """Return four descriptive questions about a chart in CharXiv's format."""
    labels = {1: chart.title, 2: chart.x_label, 3: chart.y_label, 19: "1"}
    return {
        "figure_id": figure,
        "num_subplots": 1,
        "subplot_loc": [0, 0],
        "qids": list(labels),
        "answers": [label or "Not Applicable" for label in labels.values()],
    }


def jpeg(chart: Chart) -> bytes:
    """Return a chart rendered as JPEG bytes."""
    buffer = BytesIO()
    render(chart).convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
