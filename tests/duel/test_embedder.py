import pytest
import torch
from PIL import Image
from transformers import BitImageProcessorPil

from duel.embedder import check_embedder, load_embedder, pad_to_square, similarity
from duel.errors import DataError, SettingsError
from duel.settings import ModelSettings
from tests.support import tiny

IMAGES = [tiny.picture(colour, size) for colour in ("red", "green", "blue") for size in ((56, 56), (90, 40), (40, 90))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save_embedder(tmp_path_factory.mktemp("embedder"))


@pytest.fixture(scope="module")
def embedder(folder):
    return load_embedder(ModelSettings(embedder=folder, device="cpu"))


def test_embeddings_are_unit_vectors(embedder):
    embeddings = embedder.embed(IMAGES)
    assert embeddings.shape == (9, 32)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(9))


def test_an_embedding_does_not_depend_on_the_batch_bit_for_bit(embedder):
    together = embedder.embed(IMAGES)
    assert torch.equal(embedder.embed(IMAGES[::-1]).flip(0), together)
    for image, embedding in zip(IMAGES, together, strict=True):
        assert torch.equal(embedder.embed([image])[0], embedding)


def test_padding_of_a_chunk_changes_no_embedding(embedder):
    pixels = embedder._pixels(IMAGES[0])[None]  # (1, 3, size, size)
    alone = torch.nn.functional.normalize(embedder.network(pixel_values=pixels).last_hidden_state[0, 0], dim=-1)
    torch.testing.assert_close(embedder.embed(IMAGES[:1])[0], alone, atol=1e-6, rtol=0)


def test_equal_images_are_embedded_once(embedder, monkeypatch):
    seen = []
    pixels = embedder._pixels
    monkeypatch.setattr(embedder, "_pixels", lambda data: seen.append(data) or pixels(data))
    embeddings = embedder.embed([IMAGES[0], IMAGES[1], IMAGES[0]])
    assert len(seen) == 2
    assert torch.equal(embeddings[0], embeddings[2])


def test_no_images_give_no_embeddings(embedder):
    assert embedder.embed([]).shape == (0, 32)


def test_edge_pixels_change_the_embedding(embedder):
    """The two pictures differ in their outermost pixels only, which a centre crop would drop."""
    first, second = embedder.embed([tiny.picture("red", (256, 256)), tiny.picture("blue", (256, 256))])
    assert similarity(first, second) < 0.999
    assert similarity(first, first) == pytest.approx(1.0)


def test_padding_is_white_and_even_on_both_sides():
    square = pad_to_square(Image.new("RGB", (2, 4), "black"))
    assert square.size == (4, 4)
    assert [square.getpixel((x, 0)) for x in range(4)] == [(255,) * 3, (0,) * 3, (0,) * 3, (255,) * 3]


def test_size_is_the_models_own_or_the_setting(folder, embedder):
    assert embedder.size == 56  # the stock crop's side, filled by the whole image
    larger = load_embedder(ModelSettings(embedder=folder, embedder_size=84, device="cpu"))
    assert larger.size == 84
    assert larger.embed(IMAGES[:1]).shape == (1, 32)
    with pytest.raises(SettingsError, match="multiple of the model's patch size, 14"):
        load_embedder(ModelSettings(embedder=folder, embedder_size=85, device="cpu"))


def test_broken_bytes_are_data_errors(embedder):
    with pytest.raises(DataError, match="not a readable image"):
        embedder.embed([IMAGES[0], b"broken"])


def test_a_missing_embedder_is_a_settings_error(tmp_path):
    with pytest.raises(SettingsError, match="cannot load the embedder"):
        load_embedder(ModelSettings(embedder=str(tmp_path), device="cpu"))


def test_a_model_without_patches_is_a_settings_error(tmp_path):
    folder = tiny.save_lm(tmp_path)
    BitImageProcessorPil().save_pretrained(folder)
    with pytest.raises(SettingsError, match="a qwen2 model, which has no patch size"):
        check_embedder(ModelSettings(embedder=folder, device="cpu"))
