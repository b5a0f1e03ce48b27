import io
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from duel.devices import choose_device
from duel.errors import DataError, SettingsError
from duel.images import decode_image
from duel.policies.inputs import build_prompts, check_shapes, distinct
from duel.policies.load import load_players
from duel.policies.models import language_linears
from duel.types import ModelInput
from tests.support import tiny

RED = tiny.picture("red")


@pytest.fixture(scope="module")
def vlm(tmp_path_factory):
    return tiny.save_vlm(tmp_path_factory.mktemp("vlm"))


def test_all_special_tokens_are_forbidden_but_the_end_of_turn(vlm):
    model = tiny.load(vlm)
    forbidden = set(model.forbidden_V.nonzero().flatten().tolist())
    end = tiny.SPECIAL.index("<|im_end|>")
    assert model.end_tokens.tolist() == [end]
    assert forbidden == (set(range(len(tiny.SPECIAL))) - {end}) | set(range(len(model.tokenizer), 272))


def test_lora_finds_the_language_model_and_not_the_vision_tower(vlm, tmp_path):
    kinds = "(down_proj|gate_proj|k_proj|o_proj|q_proj|up_proj|v_proj)"
    assert language_linears(tiny.load(vlm).network) == rf"model\.language_model\..*\.{kinds}"
    assert language_linears(tiny.load(tiny.save_lm(tmp_path)).network) == rf"model\..*\.{kinds}"


def test_prompts_are_left_padded_and_hold_one_placeholder_for_each_image_token(vlm):
    model = tiny.load(vlm)
    prompts = build_prompts(model, [ModelInput("a", RED), ModelInput("abc", tiny.picture("blue", (84, 56)))])
    placeholder = tiny.SPECIAL.index("<|image_pad|>")
    assert (prompts.input_ids_IP == placeholder).sum(1).tolist() == [4, 6]  # 56 x 56 and 84 x 56 in squares of 28
    assert prompts.attention_mask_IP[:, 0].tolist() == [0, 1]
    assert prompts.attention_mask_IP[:, -1].tolist() == [1, 1]
    assert prompts.input_ids_IP[0, -1] == prompts.input_ids_IP[1, -1]


def test_positions_go_on_after_the_image_grid(vlm):
    model = tiny.load(vlm)
    prompts = build_prompts(model, [ModelInput("a", RED), ModelInput("b")])
    length_I = prompts.attention_mask_IP.sum(1)
    # An image of 2 x 2 tokens takes two positions, not four.
    assert (length_I - prompts.next_position_I).tolist() == [2, 0]


def test_prompts_with_and_without_an_image_stand_in_one_batch_in_any_order(vlm):
    model = tiny.load(vlm)
    placeholder = tiny.SPECIAL.index("<|image_pad|>")
    for inputs, counts in (
        ([ModelInput("a", RED), ModelInput("b")], [4, 0]),
        ([ModelInput("b"), ModelInput("a", RED)], [0, 4]),
    ):
        assert (build_prompts(model, inputs).input_ids_IP == placeholder).sum(1).tolist() == counts


def test_max_pixels_shrinks_what_the_model_sees(vlm):
    large = tiny.picture("red", (84, 84))
    seen = {
        limit: load_players(tiny.settings(vlm, models={"max_pixels": limit}), ["base"])["base"].model
        for limit in (None, 56 * 56)
    }
    tokens = {
        k: build_prompts(m, [ModelInput("a", large)]).images["image_grid_thw"].prod().item() for k, m in seen.items()
    }
    assert tokens == {None: 36, 56 * 56: 16}  # patches of 14 x 14


def test_distinct_inputs():
    a, b = ModelInput("x", b"1"), ModelInput("x", b"2")
    assert distinct([a, b, ModelInput("x", b"1")]) == ([a, b], [0, 1, 0])


def test_broken_images_are_data_errors(vlm):
    policy = load_players(tiny.settings(vlm), ["base"])["base"]
    for broken in (b"", b"no image", RED[:60]):
        with pytest.raises(DataError, match="not a readable image"):
            policy.sample([ModelInput("x", broken)], [[1]], temperature=1.0, max_new_tokens=2)


def test_transparent_pixels_become_white():
    buffer = io.BytesIO()
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(buffer, "PNG")
    assert decode_image(buffer.getvalue()).getpixel((0, 0)) == (255, 255, 255)


def test_an_image_for_a_text_only_model_is_refused(tmp_path):
    policy = load_players(tiny.settings(tiny.save_lm(tmp_path)), ["base"])["base"]
    with pytest.raises(SettingsError, match="text-only"):
        policy.sample([ModelInput("x", RED)], [[1]], temperature=1.0, max_new_tokens=2)


def test_what_cannot_be_loaded_is_a_settings_error(vlm, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="cannot load the model"):
        load_players(tiny.settings(str(tmp_path / "empty")))
    bare = tiny.save_lm(tmp_path / "bare")
    (tmp_path / "bare" / "chat_template.jinja").unlink()
    with pytest.raises(SettingsError, match="no chat template"):
        load_players(tiny.settings(bare))


def test_a_device_that_is_not_there_is_a_settings_error():
    with pytest.raises(SettingsError, match="nonsense"):
        choose_device("nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no CUDA device"):
            choose_device("cuda")


def test_the_backbone_is_held_in_the_dtype_asked_for_and_adapters_in_fp32(vlm):
    asked = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}  # auto: on the CPU
    for name, dtype in asked.items():
        policy = load_players(tiny.settings(vlm, models={"dtype": name}), ["base"])["base"]
        held = {n: p.dtype for n, p in policy.model.network.named_parameters() if "lora" not in n}
        assert set(held.values()) == {dtype}
        assert {parameter.dtype for parameter in policy.tuning.parameters.values()} == {torch.float32}
        [row] = policy.sample([ModelInput("x", RED)], [[1, 2]], temperature=0.9, max_new_tokens=4)
        assert policy.learn([ModelInput("x", RED)], [tiny.group(row, [0.0, 1.0])]).gradient_norm > 0


def test_a_shape_that_the_processor_refuses_is_named_with_its_file(vlm, tmp_path):
    model = tiny.load(vlm)
    files = {"square": (56, 56), "banner": (1200, 60), "strip": (2400, 30), "speck": (3, 3)}
    for name, size in files.items():
        (tmp_path / f"{name}.png").write_bytes(tiny.picture("red", size))
    check_shapes(model, [tmp_path / f"{name}.png" for name in files])

    def refuse(images, **_):
        if images[0].width > 20 * images[0].height:
            raise ValueError("absolute aspect ratio must be smaller than 20\nmore")

    strict = replace(model, processor=SimpleNamespace(image_processor=refuse))
    check_shapes(strict, [tmp_path / "square.png", tmp_path / "banner.png", tmp_path / "speck.png"])
    with pytest.raises(DataError, match=r"strip\.png of 2400 x 30 pixels: .*smaller than 20; crop or pad it"):
        check_shapes(strict, [tmp_path / "square.png", tmp_path / "strip.png"])
