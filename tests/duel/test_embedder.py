import json

import pytest
import torch
from PIL import Image
from transformers import BitImageProcessorPil, DINOv3ViTConfig, DINOv3ViTModel, SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

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


def test_a_model_of_another_family_is_a_settings_error(tmp_path):
    folder = tiny.save_lm(tmp_path)
    BitImageProcessorPil().save_pretrained(folder)
    with pytest.raises(SettingsError, match="it is a qwen2 model, expected one of dinov2, "):
        check_embedder(ModelSettings(embedder=folder, device="cpu"))


def test_a_siglip_2_of_variable_resolution_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "siglip2"}')
    with pytest.raises(SettingsError, match="it is a siglip2 model, expected one of .*siglip"):
        check_embedder(ModelSettings(embedder=str(tmp_path), device="cpu"))


def save_siglip(folder, processor_size=56, **vision):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = SiglipConfig(
        text_config={**sizes, "vocab_size": 64}, vision_config={**sizes, "image_size": 56, "patch_size": 14, **vision}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        SiglipModel(config).save_pretrained(folder)
    SiglipImageProcessorPil(size={"height": processor_size, "width": processor_size}).save_pretrained(folder)
    return str(folder)


def test_a_siglip_model_embeds_by_its_attention_pooling(tmp_path):
    embedder = load_embedder(ModelSettings(embedder=save_siglip(tmp_path), device="cpu"))
    [found] = embedder.embed(IMAGES[:1])
    whole = SiglipModel.from_pretrained(tmp_path)
    pixels = embedder._pixels(IMAGES[0])[None]
    expected = whole.vision_model(pixel_values=pixels).pooler_output[0].detach()
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=-1), atol=1e-6, rtol=0)
    patch = whole.vision_model(pixel_values=pixels).last_hidden_state[0, 0].detach()
    assert similarity(found, torch.nn.functional.normalize(patch, dim=-1)) < 0.9
    odd = save_siglip(tmp_path / "odd", image_size=60, processor_size=60)  # as so400m-patch14-384
    assert check_embedder(ModelSettings(embedder=odd, device="cpu"))[0] == 60
    with pytest.raises(SettingsError, match="embedder_size = 84: expected the model's own, 56"):
        check_embedder(ModelSettings(embedder=str(tmp_path), embedder_size=84, device="cpu"))


def test_a_siglip_model_without_its_pooling_is_refused(tmp_path):
    folder = save_siglip(tmp_path, vision_use_head=False)
    with pytest.raises(SettingsError, match="without its pooling head"):
        check_embedder(ModelSettings(embedder=folder, device="cpu"))


def test_a_dinov3_model_embeds_by_its_class_token_without_torchvision(tmp_path):
    config = DINOv3ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        DINOv3ViTModel(config).save_pretrained(tmp_path)
    processor = {"image_processor_type": "DINOv3ViTImageProcessorFast", "size": {"height": 64, "width": 64}}
    processor |= {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(SettingsError, match="preprocessor_config.json lacks image_mean, image_std, size"):
        check_embedder(ModelSettings(embedder=str(tmp_path), device="cpu"))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    embedder = load_embedder(ModelSettings(embedder=str(tmp_path), device="cpu"))
    assert embedder.size == 64
    [found] = embedder.embed(IMAGES[:1])
    token = embedder.network(pixel_values=embedder._pixels(IMAGES[0])[None]).last_hidden_state[0, 0]
    torch.testing.assert_close(found, torch.nn.functional.normalize(token, dim=-1), atol=1e-6, rtol=0)
