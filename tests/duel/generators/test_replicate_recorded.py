"""Exchanges with Replicate as recorded in public, replayed to the real client."""

import base64
from collections.abc import Iterator

import pytest

from cache.ledger import SpendLedger
from duel.errors import UserError
from duel.generators.replicate.generator import ReplicateGenerator
from duel.testing.inputs import FLUX_SCHNELL
from duel.types import DrawnImage, Refusal
from tests.support.recorded import ReplayServer, recorded
from tests.support.replicate_fixtures import QUICK, TOKEN, Painter

BODIES = recorded()
PAINTED = Painter().draw("a bar chart", 7)
assert isinstance(PAINTED, DrawnImage)
# The recorded file is not there any more; a data URL, which the service answers with for small files, is.
SUCCEEDED = BODIES["succeeded"] | {"output": [f"data:image/png;base64,{base64.b64encode(PAINTED.data).decode()}"]}
CREATED = (201, BODIES["created"])


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayServer]:
    with ReplayServer() as started:
        monkeypatch.setenv("REPLICATE_BASE_URL", started.url)
        monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
        yield started


@pytest.fixture
def generator(service: ReplayServer, ledger: SpendLedger) -> Iterator[ReplicateGenerator]:
    with ReplicateGenerator(ledger, retries=QUICK) as made:
        made.parameters = {}
        yield made


def test_an_image(service, ledger, generator):
    service.answers.extend([CREATED, CREATED, (200, SUCCEEDED)])
    assert generator.draw("a bar chart", 7) == PAINTED
    id = BODIES["created"]["id"]
    assert service.asked == [f"POST /v1/models/{FLUX_SCHNELL}/predictions"] + [f"GET /v1/predictions/{id}"] * 2
    assert service.bodies == [{"input": {"prompt": "a bar chart", "seed": 8}}]
    assert (ledger.spend().images, ledger.spend().uncertain) == (1, 0)


@pytest.mark.parametrize("name", ["refused", "refused_with_an_empty_list", "sensitive"])
def test_a_refusal_whose_cost_is_not_told(service, ledger, generator, name):
    service.answers.extend([CREATED, (200, BODIES[name])])
    assert generator.draw("a bar chart", 7) == Refusal(BODIES[name]["error"])
    assert (ledger.spend().refused, ledger.spend().images, ledger.spend().uncertain) == (1, 0, 1)


@pytest.mark.parametrize(("name", "uncertain"), [("director_error", 0), ("aborted", 1), ("canceled", 1)])
def test_an_end_without_image_and_then_an_image(service, ledger, generator, name, uncertain):
    again = {"id": "q7mrxk2d5hrm80cm8v1tgxy2z4"}
    service.answers.extend([CREATED, (200, BODIES[name])])
    service.answers.extend([(201, BODIES["created"] | again), (200, SUCCEEDED | again)])
    assert generator.draw("a bar chart", 7) == PAINTED
    assert (ledger.spend().failed, ledger.spend().drawn, ledger.spend().uncertain) == (1, 1, uncertain)


def test_a_prompt_that_is_rejected_is_a_refusal(service, ledger, generator):
    service.answers.append((422, BODIES["prompt_rejected"]))
    refusal = generator.draw("a bar chart", 7)
    assert isinstance(refusal, Refusal)
    assert "String length must be less than or equal to 1000" in refusal.reason
    assert ledger.spend().dollars == 0.0


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("input_rejected", "num_outputs: Must be less than or equal to 4: .* check generator.parameters"),
        ("no_credit", "402: Insufficient credit: .* add credit"),
        ("unauthenticated", "401: Unauthenticated: .* the API token is not accepted"),
    ],
)
def test_what_no_retry_mends_is_said_with_advice(service, ledger, generator, name, advice):
    service.answers.append((BODIES[name]["status"], BODIES[name]))
    with pytest.raises(UserError, match=advice):
        generator.draw("a bar chart", 7)
    assert ledger.spend().under_way == 0


def test_a_rate_limit_that_is_only_in_the_body_is_waited_out(service, generator):
    service.answers.extend([(429, BODIES["throttled"]), CREATED, (200, SUCCEEDED)])
    assert generator.draw("a bar chart", 7) == PAINTED


def test_a_deleted_prediction_is_lost_and_bought_again(service, ledger, generator):
    again = {"id": "q7mrxk2d5hrm80cm8v1tgxy2z4"}
    service.answers.extend([CREATED, (200, BODIES["deleted"])])
    service.answers.extend([(201, BODIES["created"] | again), (200, SUCCEEDED | again)])
    assert generator.draw("a bar chart", 7) == PAINTED
    assert (ledger.spend().lost, ledger.spend().drawn, ledger.spend().images) == (1, 1, 2)
