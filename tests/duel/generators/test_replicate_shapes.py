"""Lost answers, clocks, and answers in unexpected shapes, through the client and the local fake."""

import json
import time

import pytest

from duel.errors import LimitError, UserError
from duel.generators.replicate.generator import FLUX_SCHNELL, ReplicateGenerator
from duel.testing.predictions import ENDINGS
from duel.testing.shapes import READABLE, UNREADABLE
from duel.types import Refusal
from tests.support.replicate_fixtures import PNG, is_right, retry_settings


@pytest.mark.parametrize("shape", READABLE)
def test_an_answer_in_an_unexpected_shape_is_read(server, ledger, generator, shape):
    server.faults.script("shape", *[shape] * 9)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    spend = ledger.spend()
    assert (server.counts()["created"], spend.drawn, spend.images + spend.uncertain) == (1, 1, 1)
    assert spend.uncertain == (shape.endswith("count"))


@pytest.mark.parametrize("shape", UNREADABLE)
def test_an_answer_that_is_not_about_this_prediction_is_never_taken_for_it(server, ledger, generator, shape):
    server.faults.script("shape", shape, shape, None, shape)  # of the creation, and of polls
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == server.counts()["images_billed"] == 1
    assert (ledger.spend().predictions, ledger.spend().unknown, ledger.spend().images) == (1, 0, 1)


def test_a_prediction_that_stays_one_of_another_input_is_unknown_and_its_image_not_taken(server, ledger, generator):
    server.faults.script("shape", None, *["other-input"] * 3)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (ledger.spend().unknown, ledger.spend().drawn) == (1, 1)
    assert server.counts()["images_billed"] == ledger.spend().images + ledger.spend().unknown


def test_the_answer_to_another_purchase_is_not_this_ones(server, ledger, generator):
    first = ledger.created(ledger.intend("another draw"), "p1")
    job = server.create(FLUX_SCHNELL, "hidden", generator.input_of("a plot", 7))
    ledger.created(first, job.id)
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 2


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_end_without_image_is_settled_and_drawn_again(server, ledger, generator, ending):
    server.faults.script("prediction", ending)
    began = time.monotonic()
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert time.monotonic() - began < 2
    assert (ledger.spend().failed, ledger.spend().drawn, ledger.spend().refused) == (1, 1, 0)


def test_the_last_message_has_the_services_reason(server, generator):
    server.faults.rates = {"error-object": 1.0}
    with pytest.raises(LimitError, match=r"bought 5 times .* the last: Director: the worker is gone.*attempts = 5"):
        generator.draw("a plot", 7)


@pytest.mark.parametrize("offset", [-600.0, 600.0, -86_400.0])
@pytest.mark.parametrize("model", [None, "internal/flux-1-fast"])
def test_a_lost_answer_is_found_whatever_the_local_clock_and_the_echoed_model(server, ledger, generator, offset, model):
    server.clock_offset, server.echoed_model = offset, model
    server.faults.script("create", "lost")
    server.create(FLUX_SCHNELL, "hidden", generator.input_of("a plot", 8))
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert server.counts()["created"] == 2
    assert (ledger.spend().predictions, ledger.spend().images, ledger.spend().unknown) == (1, 1, 0)


def test_a_lost_answer_that_an_unreadable_list_may_hide_is_unknown(server, ledger, generator, monkeypatch):
    lost = server.create(FLUX_SCHNELL, "hidden", generator.input_of("other", 1))
    lost.id = "control\x00id"
    server.faults.script("create", "hang")
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (ledger.spend().unknown, ledger.spend().drawn, ledger.spend().images) == (1, 1, 1)


def test_a_prompt_that_the_service_rejects_is_a_refusal_and_costs_nothing(server, ledger, generator):
    server.faults.script("create", "invalid-prompt")
    refusal = generator.draw("a plot", 7)
    assert isinstance(refusal, Refusal)
    assert "input.prompt: String length must be less than or equal to 3000" in refusal.reason
    assert generator.draw("a plot", 7) == refusal  # remembered: the service would only repeat it
    assert (server.counts()["created"], ledger.spend().refused, ledger.spend().dollars) == (0, 1, 0.0)
    server.faults.script("create", "flagged")
    assert isinstance(generator.draw("another plot", 7), Refusal)


def test_parameters_that_are_wrong_for_all_prompts_are_still_a_wrong_setting(server, ledger):
    with (
        ReplicateGenerator(ledger, parameters=PNG | {"num_inference_steps": 28}, retries=retry_settings()) as generator,
        pytest.raises(UserError, match=r"num_inference_steps.*check generator\.parameters"),
    ):
        generator.draw("a plot", 7)


def test_a_moderation_service_that_timed_out_is_asked_again_and_nothing_is_remembered(server, ledger, generator):
    server.faults.script("prediction", "moderation-timeout", "moderation-timeout")
    assert is_right(generator.draw("a plot", 7), "a plot", 7)
    assert (ledger.spend().refused, ledger.spend().failed, ledger.spend().drawn) == (0, 2, 1)


def test_random_shapes_and_ends_pay_for_nothing_twice(server, ledger, generator):
    shapes = dict.fromkeys([*READABLE, *UNREADABLE], 0.01)
    server.faults.rates = shapes | dict.fromkeys(ENDINGS, 0.01) | {"lost": 0.02, "throttled": 0.02}
    for i in range(60):
        assert is_right(generator.draw(f"text {i}", i), f"text {i}", i)
    counts, spend = server.counts(), ledger.spend()
    assert counts["created"] == spend.drawn + spend.failed + spend.unknown
    drawn = [json.dumps(job.input) for job in server.jobs if job.billed]
    assert len(drawn) - len(set(drawn)) <= spend.unknown
    assert spend.images <= counts["images_billed"] <= spend.images + spend.uncertain + spend.unknown
