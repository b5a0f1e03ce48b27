"""HTTP request handler of the fake Replicate's API."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from duel.testing.inputs import FLUX_SCHNELL, VERSIONS, InputError, input_error, input_errors
from duel.testing.predictions import Job, Predictions
from duel.testing.serving import Handler
from duel.testing.shapes import SHAPES, nested, shaped

PAGE = 100  # predictions per page of the list
CREATE_FAULTS = (
    "throttled",
    "error",
    "hang",
    "reset",
    "error-after",
    "lost",
    "reset-after",
    "invalid-prompt",
    "flagged",
)
READ_FAULTS = ("throttled", "error", "hang", "reset")


class ApiHandler(Handler):
    """Handles the HTTP API."""

    service: Predictions

    def do_POST(self) -> None:
        """Create or cancel a prediction."""
        body = self.read_body()
        if not self.authorized():
            return
        match urlsplit(self.path).path.strip("/").split("/"):
            case ["v1", "predictions"]:
                self.create(body, None)
            case ["v1", "models", owner, name, "predictions"]:
                self.create(body, f"{owner}/{name}")
            case ["v1", "predictions", id, "cancel"]:
                self.cancel(id)
            case _:
                self.fail(404, "Not found", "The requested resource could not be found.")

    def do_GET(self) -> None:
        """Return a prediction, a page of predictions, or the account."""
        if not self.authorized():
            return
        address = urlsplit(self.path)
        match address.path.strip("/").split("/"):
            case ["v1", "predictions"]:
                if not self.inject_fault("list", READ_FAULTS):
                    self.list(parse_qs(address.query))
            case ["v1", "predictions", id]:
                if not self.inject_fault("poll", READ_FAULTS):
                    self.show(id)
            case ["v1", "account"]:
                self.answer(200, {"type": "organization", "username": "loopback", "name": "Loopback"})
            case _:
                self.fail(404, "Not found", "The requested resource could not be found.")

    def authorized(self) -> bool:
        """Whether the token is valid; if not, respond 401."""
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if not token:
            self.fail(401, "Unauthenticated", "You did not pass an authentication token")
        elif scheme.lower() not in ("bearer", "token") or token.strip() != self.service.token:
            self.fail(401, "Unauthenticated", "You did not pass a valid authentication token")
        else:
            return True
        return False

    def create(self, body: bytes, model: str | None) -> None:
        """Create a prediction: of the URL's model if it names one, else of the body's version."""
        request = self.valid_request(body, model)
        if request is None:
            return
        if self.service.throttled():
            self.throttle()
            return
        fault = self.service.faults.pick("create", CREATE_FAULTS)
        job = None
        if fault is None or fault in ("error-after", "lost", "reset-after"):
            job = self.service.create(**request)
        if fault is not None or job is None:
            self.respond_faulty(
                {"error-after": "error", "lost": "hang", "reset-after": "reset"}.get(str(fault), str(fault))
            )
            return
        wait = self.headers.get("Prefer", "")
        if wait.startswith("wait"):
            job.done.wait(float(wait.partition("=")[2] or 60))
        self.answer_about(201, job)

    def valid_request(self, body: bytes, model: str | None) -> dict[str, Any] | None:
        """Return model, version and input of a creation; None after responding with an error when they are invalid."""
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self.fail(400, "Bad request", "The request body is not a JSON object.")
            return None
        if model is None:
            version = str(request.get("version", "")).rpartition(":")[2]
            model = FLUX_SCHNELL if version == FLUX_SCHNELL else VERSIONS.get(version)
            if "version" in request and model is None:
                detail = "The specified version does not exist (or perhaps you don't have permission to use it?)"
                self.fail(422, "Invalid version or not permitted", detail)
                return None
        elif model != FLUX_SCHNELL:  # only official models can be called by name
            self.fail(404, "Not found", "The requested resource could not be found.")
            return None
        else:
            version = "hidden"
        errors = request_errors(request, model)
        if errors:
            detail = "".join(f"- {error['field']}: {error['description']}\n".replace("- : ", "- ") for error in errors)
            self.fail(422, "Input validation failed", detail, invalid_fields=errors)
            return None
        if self.service.credit <= 0:
            detail = "You have insufficient credit to run this model. Go to "
            detail += "https://replicate.com/account/billing#billing to purchase credit."
            self.fail(402, "Insufficient credit", detail)
            return None
        return {"model": model, "version": version, "input": request["input"]}

    def show(self, id: str) -> None:
        """Return one prediction, or respond 404."""
        job = self.service.job(id)
        if job is None:
            self.fail(404, "Not found", "Prediction not found")
        else:
            self.answer_about(200, job)

    def answer_about(self, status: int, job: Job) -> None:
        """Respond with a prediction, in the shape that a fault says."""
        body = shaped(self.shown(job), self.service.faults.pick("shape", tuple(SHAPES)))
        deep = nested(body)
        if deep is None:
            self.answer(status, body)
        else:
            self.send(status, deep, {"Content-Type": "application/json"})

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the `Date` of a response, by the service's clock."""
        return super().date_time_string(self.service.now() if timestamp is None else timestamp)

    def list(self, query: Mapping[str, list[str]]) -> None:
        """Return a page of predictions, newest first."""
        jobs = list(self.service.jobs)
        end = len(jobs)
        if "cursor" in query:
            end = int(base64.urlsafe_b64decode(query["cursor"][0]).decode().removeprefix("p="))
        start = max(0, end - PAGE)
        cursor = base64.urlsafe_b64encode(f"p={start}".encode()).decode()
        following = f"{self.service.url}/v1/predictions?cursor={cursor}" if start else None
        results = [self.shown(job) | {"source": "api"} for job in reversed(jobs[start:end])]
        self.answer(200, {"previous": None, "next": following, "results": results})

    def cancel(self, id: str) -> None:
        """Respond to a cancellation; predictions here are too short to be cancelled."""
        self.show(id)

    def shown(self, job: Job) -> dict[str, Any]:
        """Return a prediction as JSON-serialisable dict in the API's format."""
        removed = self.service.forgotten(job)
        address = f"{self.service.url}/v1/predictions/{job.id}"
        format = job.input.get("output_format", "webp")
        files = [f"{self.service.files_url}/xezq/{job.id}/out-{i}.{format}" for i in range(len(job.files))]
        done = job.status == "succeeded" and not removed
        return {
            "id": job.id,
            "model": self.service.echoed_model or job.model,
            "version": job.version,
            "input": {} if removed else job.input,
            "output": files if done else None,
            "logs": None if removed else "",
            "data_removed": removed,
            "error": job.error,
            "status": job.status,
            "created_at": iso(job.created),
            "started_at": iso(job.started),
            "completed_at": iso(job.completed),
            "metrics": {"image_count": job.billed, "predict_time": self.service.seconds} if job.completed else {},
            "urls": {"get": address, "cancel": f"{address}/cancel", "web": f"https://replicate.com/p/{job.id}"},
        }

    def inject_fault(self, stage: str, possible: tuple[str, ...]) -> bool:
        """Inject this request's fault, if it has one; return whether it had."""
        fault = self.service.faults.pick(stage, possible)
        if fault is not None:
            self.respond_faulty(fault)
        return fault is not None

    def respond_faulty(self, fault: str) -> None:
        """Respond with the error of a fault, or not at all."""
        if fault == "throttled":
            self.throttle()
        elif fault == "error":
            self.fail(500, "Internal server error", "An unexpected error occurred.")
        elif fault == "hang":
            self.hang()
        elif fault == "invalid-prompt":
            description = "String length must be less than or equal to 3000"
            errors = [input_error("string_lte", "input.prompt", description)]
            self.fail(422, "Input validation failed", f"- input.prompt: {description}\n", invalid_fields=errors)
        elif fault == "flagged":
            self.fail(422, "Unprocessable Entity", "The input was flagged as sensitive. Please try another. (E005)")
        else:
            self.reset()

    def throttle(self) -> None:
        """Respond 429 with Retry-After."""
        seconds = self.service.retry_after
        detail = f"Request was throttled. Your rate limit resets in ~{seconds:g}s."
        headers = {"Retry-After": f"{seconds:g}"}
        self.answer(429, {"detail": detail, "status": 429, "retry_after": seconds}, headers)

    def fail(self, status: int, title: str, detail: str, **more: Any) -> None:
        """Respond with a problem document (RFC 7807)."""
        self.answer(status, {"title": title, "detail": detail, "status": status, **more})


def request_errors(request: dict[str, Any], model: str | None) -> list[InputError]:
    """Return the validation errors of a creation's body."""
    allowed = {"version", "input", "stream", "webhook", "webhook_completed", "webhook_events_filter"}
    errors = []
    if model is None:
        errors.append({"type": "required", "field": "", "description": "version is required"})
    if "input" not in request:
        errors.append({"type": "required", "field": "", "description": "input is required"})
    for name in sorted(request.keys() - allowed):
        description = f"Additional property {name} is not allowed"
        errors.append({"type": "additional_property_not_allowed", "field": "", "description": description})
    return errors or input_errors(str(model), request["input"])


def iso(seconds: float | None) -> str | None:
    """Return a Unix time in the API's format."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
