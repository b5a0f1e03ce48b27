"""The fake Replicate accepts and rejects what the real API does, with its error texts."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError
from replicate.pagination import paginate

from duel.generators.replicate.generator import FLUX_SCHNELL
from duel.offline.generator import ChartGenerator
from duel.testing.inputs import COMMUNITY, VERSIONS
from duel.testing.predictions import NSFW, TOKEN
from duel.testing.replicate import ReplicateServer

VERSION_OF = {model: version for version, model in VERSIONS.items()}


@pytest.fixture(scope="module")
def shared() -> Iterator[ReplicateServer]:
    with ReplicateServer(ChartGenerator()) as started:
        yield started


@pytest.fixture
def server() -> Iterator[ReplicateServer]:
    with ReplicateServer(ChartGenerator()) as started:
        yield started


@pytest.fixture
def client_of() -> Iterator[Callable[[ReplicateServer], Client]]:
    clients: list[Client] = []

    def connect(server: ReplicateServer) -> Client:
        client = Client(TOKEN, base_url=server.url)
        client.poll_interval = 0.01
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client._client.close()


def post(server: ReplicateServer, body: Any, path: str = f"/v1/models/{FLUX_SCHNELL}/predictions") -> httpx.Response:
    return httpx.post(server.url + path, json=body, headers={"Authorization": f"Bearer {TOKEN}"})


def test_the_vendors_client_runs_a_model(shared, client_of):
    (output,) = client_of(shared).run(FLUX_SCHNELL, {"prompt": "a pie chart", "seed": 3}, use_file_output=False)
    image = Image.open(io.BytesIO(httpx.get(output).content))
    assert (image.format, image.size) == ("WEBP", (224, 224))


@pytest.mark.parametrize(("format", "kind"), [("webp", "WEBP"), ("jpg", "JPEG"), ("png", "PNG")])
def test_files_come_in_the_format_asked_for_one_per_output(shared, format, kind, client_of):
    wanted = {"prompt": "a pie chart", "num_outputs": 2, "output_format": format}
    outputs = client_of(shared).run(FLUX_SCHNELL, wanted, use_file_output=False)
    files = [httpx.get(output) for output in outputs]
    assert [Image.open(io.BytesIO(file.content)).format for file in files] == [kind, kind]
    assert files[0].content != files[1].content
    assert files[0].headers["Content-Type"] in ("image/webp", "image/jpeg", "image/png")


def test_equal_seeds_give_equal_images_and_seed_0_is_none(shared, client_of):
    def drawn(seed: int) -> bytes:
        wanted = {"prompt": "a chart", "seed": seed}
        return httpx.get(client_of(shared).run(FLUX_SCHNELL, wanted, use_file_output=False)[0]).content

    assert drawn(5) == drawn(5) != drawn(6)
    assert drawn(0) != drawn(0)


def test_without_prefer_wait_the_response_comes_before_the_image(server, client_of):
    server.seconds = 0.2
    prediction = client_of(server).models.predictions.create(FLUX_SCHNELL, {"prompt": "a chart"})
    assert (prediction.status, prediction.output) in (("starting", None), ("processing", None))
    prediction.wait()
    assert prediction.status == "succeeded"
    waited = client_of(server).models.predictions.create(FLUX_SCHNELL, {"prompt": "a chart"}, wait=True)
    assert waited.status == "succeeded"


@pytest.mark.parametrize(
    ("authorization", "detail"),
    [({}, "You did not pass an authentication token"), ({"Authorization": "Bearer x"}, "did not pass a valid")],
)
def test_no_token_or_a_wrong_one_is_401(shared, authorization, detail):
    answer = httpx.get(f"{shared.url}/v1/predictions", headers=authorization)
    assert answer.status_code == answer.json()["status"] == 401
    assert answer.json()["title"] == "Unauthenticated"
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    ("input", "field", "description"),
    [
        ({}, "input", "prompt is required"),
        ({"prompt": 3}, "input.prompt", "Invalid type. Expected: string, given: integer"),
        ({"prompt": "x", "num_outputs": 5}, "input.num_outputs", "Must be less than or equal to 4"),
        ({"prompt": "x", "num_outputs": 0}, "input.num_outputs", "Must be greater than or equal to 1"),
        ({"prompt": "x", "num_inference_steps": 28}, "input.num_inference_steps", "Must be less than or equal to 4"),
        ({"prompt": "x", "megapixels": 1}, "input.megapixels", "Invalid type. Expected: string, given: integer"),
        ({"prompt": "x", "megapixels": "2"}, "input.megapixels", 'megapixels must be one of the following: "1"'),
        ({"prompt": "x", "output_format": "gif"}, "input.output_format", "output_format must be one of the following"),
        ({"prompt": "x", "aspect_ratio": "7:1"}, "input.aspect_ratio", "aspect_ratio must be one of the following"),
        ({"prompt": "x", "output_quality": 101}, "input.output_quality", "Must be less than or equal to 100"),
        ({"prompt": "x", "seed": 1.5}, "input.seed", "Invalid type. Expected: integer, given: number"),
        ({"prompt": "x", "seed": True}, "input.seed", "Invalid type. Expected: integer, given: boolean"),
        ({"prompt": "x", "go_fast": "no"}, "input.go_fast", "Invalid type. Expected: boolean, given: string"),
    ],
)
def test_an_input_that_does_not_fit_is_422_and_creates_nothing(shared, input, field, description):
    before = shared.counts()["created"]
    answer = post(shared, {"input": input})
    assert (answer.status_code, answer.json()["title"]) == (422, "Input validation failed")
    (fault,) = answer.json()["invalid_fields"]
    assert fault["field"] == field
    assert fault["description"].startswith(description)
    assert answer.json()["detail"] == f"- {field}: {fault['description']}\n"
    assert shared.counts()["created"] == before


def test_an_input_that_the_model_does_not_know_is_ignored(shared):
    assert post(shared, {"input": {"prompt": "x", "guidance_scale": 7}}).status_code == 201


def test_unknown_fields_of_the_body_are_422(shared):
    answer = post(shared, {"input": {"prompt": "x"}, "model": FLUX_SCHNELL}, "/v1/predictions")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "- version is required\n- Additional property model is not allowed\n"


@pytest.mark.parametrize("model", ["black-forest-labs/flux-imaginary", COMMUNITY])
def test_a_model_that_is_not_official_is_404_by_name(shared, model):
    assert post(shared, {"input": {"prompt": "x"}}, f"/v1/models/{model}/predictions").status_code == 404


@pytest.mark.parametrize("version", [VERSION_OF[COMMUNITY], f"{COMMUNITY}:{VERSION_OF[COMMUNITY]}", FLUX_SCHNELL])
def test_a_version_is_an_id_with_or_without_its_model_or_an_official_models_name(shared, version):
    answer = post(shared, {"version": version, "input": {"prompt": "x"}}, "/v1/predictions")
    assert answer.status_code == 201
    assert answer.json()["model"] in version or answer.json()["model"] == COMMUNITY


def test_a_version_that_does_not_exist_is_422(shared):
    answer = post(shared, {"version": "0" * 64, "input": {"prompt": "x"}}, "/v1/predictions")
    assert (answer.status_code, answer.json()["title"]) == (422, "Invalid version or not permitted")


def test_a_body_that_is_no_json_is_400_and_an_unknown_prediction_404(shared, client_of):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path = f"{shared.url}/v1/models/{FLUX_SCHNELL}/predictions"
    assert httpx.post(path, content=b"{", headers=headers).status_code == 400
    with pytest.raises(ReplicateError) as unknown:
        client_of(shared).predictions.get("nothing")
    assert unknown.value.status == 404


def test_the_list_is_newest_first_a_hundred_a_page(server, client_of):
    client = client_of(server)
    ids = [client.models.predictions.create(FLUX_SCHNELL, {"prompt": f"chart {i}"}).id for i in range(105)]
    pages = list(paginate(client.predictions.list))
    assert [len(page) for page in pages] == [100, 5]
    assert [prediction.id for page in pages for prediction in page] == ids[::-1]


def test_inputs_and_outputs_are_deleted_after_an_hour(server, client_of):
    client = client_of(server)
    prediction = client.models.predictions.create(FLUX_SCHNELL, {"prompt": "a chart"}, wait=True)
    server.retention = 0.0
    headers = {"Authorization": f"Bearer {TOKEN}"}
    shown = httpx.get(f"{server.url}/v1/predictions/{prediction.id}", headers=headers).json()
    assert (shown["input"], shown["output"], shown["data_removed"]) == ({}, None, True)
    assert shown["status"] == "succeeded"
    assert httpx.get(prediction.output[0]).status_code == 404


def test_a_refusal_is_a_failed_prediction_that_says_nsfw(server, client_of):
    server.faults.script("prediction", "refused")
    with pytest.raises(ModelError, match="NSFW"):
        client_of(server).run(FLUX_SCHNELL, {"prompt": "a chart"})
    assert server.jobs[0].error == NSFW
    assert server.counts() == {
        "created": 1, "distinct_inputs": 1, "succeeded": 0, "refused": 1, "failed": 0,
        "images_billed": 1, "images_served": 0,
    }  # fmt: skip


def test_creations_beyond_the_rate_are_throttled(server):
    server.per_minute = 3
    codes = [post(server, {"input": {"prompt": "x"}}).status_code for _ in range(5)]
    assert codes == [201, 201, 201, 429, 429]
    answer = post(server, {"input": {"prompt": "x"}})
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["retry_after"] == 1
    assert "throttled" in answer.json()["detail"]


def test_stopping_the_server_leaves_no_thread_and_no_hanging_client(server):
    server.faults.script("create", "hang")
    before = threading.active_count()
    with ReplicateServer(ChartGenerator()) as other:
        other.faults.script("create", "hang")
        caught: list[Exception] = []

        def ask() -> None:
            try:
                post(other, {"input": {"prompt": "x"}})
            except httpx.TransportError as error:
                caught.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        while not other.faults.counts:
            time.sleep(0.01)
    asking.join(timeout=2)
    assert len(caught) == 1
    time.sleep(0.1)
    assert threading.active_count() <= before
