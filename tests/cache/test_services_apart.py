"""What a server on this machine answered never passes for what the real service would."""

from cache.cached_generator import CachedGenerator
from cache.image_store import ImageStore
from duel.generators.replicate.generator import ReplicateGenerator
from duel.settings import JudgeSettings, Settings
from duel.testing.replicate import ReplicateServer
from duel.types import Drawing
from tasks.recording import judge_name, question_digest
from tests.support.replicate_fixtures import PNG, QUICK, Painter

JUDGED = Settings(judge=JudgeSettings(service="openai"))


def test_images_and_refusals_of_one_address_are_not_those_of_another(server, ledger, tmp_path, monkeypatch):
    texts, seeds = ["a plot", "forbidden"], [0, 0]
    with ImageStore(tmp_path / "images") as store:
        with ReplicateGenerator(ledger, parameters=PNG, retries=QUICK) as first:
            CachedGenerator(first, store, 2).draw(texts, seeds, "run/round-0000/draw")
        with ReplicateServer(Painter(), token=server.token) as other:
            monkeypatch.setenv("REPLICATE_BASE_URL", other.environment["REPLICATE_BASE_URL"])
            with ReplicateGenerator(ledger, parameters=PNG, retries=QUICK) as second:
                assert CachedGenerator(second, store, 2).draw(texts, seeds, "run/round-0000/draw").made == 2
            assert other.counts()["created"] == 2


def test_a_drawing_has_one_identity_at_every_address(server, ledger, tmp_path, monkeypatch):
    drawings, identities = [], []
    for number in (1, 2):
        with ReplicateServer(Painter(), token=server.token) as at, ImageStore(tmp_path / str(number)) as store:
            monkeypatch.setenv("REPLICATE_BASE_URL", at.environment["REPLICATE_BASE_URL"])
            with ReplicateGenerator(ledger, parameters=PNG, retries=QUICK) as generator:
                cached = CachedGenerator(generator, store, 2)
                [drawing] = cached.draw(["a plot"], [0], "run/round-0000/draw").drawings
                of_file = Drawing("000.png", 0, cached.add(cached.image(drawing), "image/png"))
                drawings.append(drawing)
                identities.append((cached.identity(drawing), cached.identity(of_file)))
    assert drawings[0].key != drawings[1].key
    assert identities[0] == identities[1]
    assert identities[0][1] == of_file.key


def test_grades_of_one_address_are_not_those_of_another(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert judge_name(JUDGED) == "openai at https://api.openai.com/v1"
    real = question_digest(JUDGED, [])
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")
    assert judge_name(JUDGED) == "openai at http://127.0.0.1:8080/v1"
    assert question_digest(JUDGED, []) != real


def test_a_judge_without_address_keeps_its_name():
    assert judge_name(Settings()) == "exact"
