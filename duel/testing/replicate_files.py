"""HTTP request handler of the fake Replicate's file delivery."""

from __future__ import annotations

from duel.testing.oversized import blank_png
from duel.testing.predictions import Predictions
from duel.testing.serving import Handler

OVERSIZED = {"pixels": (13_000, 13_000), "strip": (65_000, 20)}  # width, height
FILE_FAULTS = ("error", "hang", "reset", "empty", "truncated", "cut", "endless", "bomb", *OVERSIZED)
FORMATS = {"webp": "image/webp", "jpg": "image/jpeg", "png": "image/png"}


class FileHandler(Handler):
    """Serves output files, to anybody who has the URL."""

    service: Predictions

    def do_GET(self) -> None:
        """Send a file, or inject a fault."""
        self.service.count(tokens="Authorization" in self.headers)
        found = self.find()
        if found is None:
            self.send(404, b"", {})
            return
        data, kind = found
        fault = self.service.faults.pick("file", FILE_FAULTS)
        headers = {"Content-Type": kind}
        if fault == "hang":
            self.hang()
        elif fault == "reset":
            self.reset()
        elif fault == "error":
            self.send(502, b"<html>Bad gateway</html>", {"Content-Type": "text/html"})
        elif fault == "cut":
            self.send(200, data[: len(data) // 2], headers, announced=len(data))
        elif fault == "endless":
            self.send_endless(200, headers)
        elif fault == "bomb":
            self.send_compressed_bomb(headers)
        elif fault in OVERSIZED:
            self.send(200, blank_png(*OVERSIZED[fault]), headers)
        else:
            self.send(200, {"empty": b"", "truncated": data[: len(data) // 2]}.get(str(fault), data), headers)
            self.service.count(images=fault is None)

    def find(self) -> tuple[bytes, str] | None:
        """Return a file's bytes and media type; None when it does not exist or was deleted."""
        *_, id, name = self.path.split("/")
        stem, _, format = name.partition(".")
        job = self.service.job(id)
        index = stem.removeprefix("out-")
        if job is None or self.service.forgotten(job) or not index.isdigit() or int(index) >= len(job.files):
            return None
        return job.files[int(index)], FORMATS.get(format, "application/octet-stream")
