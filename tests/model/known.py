"""Well-known models from configuration alone: no weights are loaded, nothing is fetched.

Small transformers that run in a moment, and full-size ones with the number of parameters that is
published for them. Nothing is imported here before it is asked for, so that tests can be collected
where a package is missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
import torch

_KEPT: list[Any] = []  # a Library's schemas go when it goes


def package(name: str) -> Any:
    """`torchvision`, `timm` or `transformers`; the test is skipped where it is not installed.

    A torchvision built for CUDA does not import beside a torch built without
    (https://github.com/pytorch/pytorch/issues/157648) unless its operators have schemas; the other
    two import it.
    """
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: make zoo")
    if importlib.util.find_spec("torchvision") is not None:
        _import_torchvision()
    return importlib.import_module(name)


def _import_torchvision() -> None:
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for module in [it for it in sys.modules if it.partition(".")[0] == "torchvision"]:
            del sys.modules[module]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)
        importlib.import_module("torchvision")


# --- torchvision: the package itself tells parameters and multiply-adds of its weights


class Vision(NamedTuple):
    """One of torchvision's models, the shape that its published count was taken on, and options."""

    name: str
    shape: tuple[int, ...] = (1, 3, 224, 224)
    options: Mapping[str, Any] = {}


VISION = (
    *(Vision(name) for name in (
        "alexnet", "convnext_tiny", "densenet121", "densenet161", "efficientnet_b0", "maxvit_t",
        "mnasnet1_0", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "regnet_x_400mf",
        "regnet_x_32gf", "regnet_y_400mf", "resnet101", "resnet18", "resnet34", "resnet50",
        "resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_1", "swin_b", "swin_t", "vgg11_bn",
        "vgg16", "vit_b_16", "vit_b_32", "vit_l_16", "wide_resnet50_2",
    )),
    Vision("efficientnet_b4", (1, 3, 380, 380)),
    Vision("efficientnet_v2_s", (1, 3, 384, 384)),
    Vision("googlenet", options={"aux_logits": False, "init_weights": False}),
    Vision("inception_v3", (1, 3, 299, 299), {"init_weights": False}),
    Vision("regnet_y_128gf", (1, 3, 384, 384)),
    Vision("swin_v2_t", (1, 3, 256, 256)),
    Vision("vit_h_14", (1, 3, 518, 518), {"image_size": 518}),
    Vision("mvit_v2_s", (1, 3, 16, 224, 224)),
    Vision("r3d_18", (1, 3, 16, 112, 112)),
    Vision("s3d", (1, 3, 16, 224, 224)),
    Vision("swin3d_t", (1, 3, 16, 224, 224)),
    Vision("deeplabv3_resnet50", (1, 3, 520, 520), {"weights_backbone": None, "aux_loss": True}),
    Vision("fcn_resnet50", (1, 3, 520, 520), {"weights_backbone": None, "aux_loss": True}),
    Vision("lraspp_mobilenet_v3_large", (1, 3, 520, 520), {"weights_backbone": None}),
)  # fmt: skip

DETECTION = (
    "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn", "ssdlite320_mobilenet_v3_large",
)  # fmt: skip


# --- timm

TIMM = (
    "beit_base_patch16_224", "cait_xxs24_224", "coatnet_0_rw_224", "convmixer_1024_20_ks9_p14",
    "crossvit_9_240", "deit3_small_patch16_224", "dpn68", "edgenext_small", "efficientnet_b0",
    "eva02_tiny_patch14_224", "focalnet_tiny_srf", "ghostnet_100", "gmlp_s16_224", "inception_v4",
    "levit_256", "mixer_b16_224", "mobilevit_s", "poolformer_s12", "pvt_v2_b1",
    "repvgg_a0", "resmlp_12_224", "tresnet_m", "vit_base_patch16_siglip_224",
    "xcit_small_12_p16_224",
)  # fmt: skip


# --- transformers


def _ids(*shape: int) -> torch.Tensor:
    return torch.randint(5, 90, shape, generator=torch.Generator().manual_seed(0))


def _text() -> dict[str, torch.Tensor]:
    return {"input_ids": _ids(2, 16)}


def _two_texts() -> dict[str, torch.Tensor]:
    return {"input_ids": _ids(2, 16), "decoder_input_ids": _ids(2, 8)}


def _picture(size: int = 32) -> Callable[[], dict[str, torch.Tensor]]:
    return lambda: {"pixel_values": torch.randn(2, 3, size, size)}


def _picture_and_text() -> dict[str, torch.Tensor]:
    return {**_text(), **_picture()()}


def _sound() -> dict[str, torch.Tensor]:
    return {"input_values": torch.randn(2, 1600)}


def _spectrogram() -> dict[str, torch.Tensor]:
    return {"input_features": torch.randn(1, 16, 100), "decoder_input_ids": _ids(1, 8)}


def _picture_and_points() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(1, 3, 64, 64), "input_points": torch.rand(1, 1, 2, 2) * 64}


class Small(NamedTuple):
    """A transformers model that runs in a moment: its class, configuration and inputs.

    `expert_flops` are those of its routed experts, which run as `_grouped_mm`.
    """

    model: str
    config: str
    options: Mapping[str, Any]
    inputs: Callable[[], dict[str, torch.Tensor]]
    expert_flops: int = 0

    def make(self) -> Any:
        """A new one, always with the same weights."""
        transformers = package("transformers")
        torch.manual_seed(0)
        options = {
            key: value() if callable(value) else value for key, value in self.options.items()
        }
        config = getattr(transformers, self.config)(**options)
        return getattr(transformers, self.model)(config).eval()


_TOKENS = 2 * 16
_SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}  # fmt: skip
_ENCODER = {"vocab_size": 99, "max_position_embeddings": 64, **_SIZES}
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_DECODER = {**_ENCODER, **_SPECIAL, "num_key_value_heads": 2, "head_dim": 8}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32}  # fmt: skip
_BOTH = {
    "vocab_size": 99, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}  # fmt: skip
_TRANSLATOR = {**_BOTH, **_SPECIAL, "max_position_embeddings": 64, "decoder_start_token_id": 2}
_PATCHES = {**_SIZES, "image_size": 32, "patch_size": 8}
_WAVES = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "conv_dim": (16, 16, 16), "conv_stride": (5, 2, 2), "conv_kernel": (10, 3, 3),
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "num_feat_extract_layers": 3,
}  # fmt: skip


def _resnet() -> Any:
    return package("transformers").ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], out_features=["stage4"]
    )  # fmt: skip


_DETECTOR = {
    **_BOTH, "num_queries": 10, "use_timm_backbone": False, "use_pretrained_backbone": False,
    "backbone": None, "backbone_config": _resnet,
}  # fmt: skip
_SAM_VISION = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
    "patch_size": 16, "output_channels": 16, "window_size": 2, "global_attn_indexes": [1],
    "mlp_dim": 64, "num_pos_feats": 8,
}  # fmt: skip


def _experts(layers: int, width: int, inner: int, chosen: int = 2) -> int:
    """Gate, up and down projection of each chosen expert, for each token."""
    return layers * _TOKENS * chosen * 3 * 2 * width * inner


def _encoder(name: str, **options: Any) -> Small:
    return Small(f"{name}Model", f"{name}Config", {**_ENCODER, **options}, _text)


def _decoder(name: str, config: str = "", expert_flops: int = 0, **options: Any) -> Small:
    config = config or f"{name}Config"
    return Small(f"{name}ForCausalLM", config, {**_DECODER, **options}, _text, expert_flops)


SMALL: dict[str, Small] = {
    "albert": _encoder("Albert", embedding_size=16),
    "bert": _encoder("Bert"),
    "big-bird": _encoder("BigBird"),
    "deberta-v2": _encoder("DebertaV2"),
    "electra": _encoder("Electra", embedding_size=16),
    "longformer": _encoder("Longformer", max_position_embeddings=66, attention_window=8),
    "mpnet": _encoder("MPNet"),
    "nystromformer": _encoder("Nystromformer"),
    "roberta": _encoder("Roberta"),
    "roformer": _encoder("RoFormer"),
    "xlm-roberta": _encoder("XLMRoberta"),
    "distilbert": Small("DistilBertModel", "DistilBertConfig", {"vocab_size": 99, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64}, _text),
    "funnel": Small("FunnelModel", "FunnelConfig", {"vocab_size": 99, "d_model": 32, "block_sizes": [1, 1], "n_head": 4, "d_head": 8, "d_inner": 64}, _text),
    "xlnet": Small("XLNetModel", "XLNetConfig", {"vocab_size": 99, "d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}, _text),
    "bloom": Small("BloomForCausalLM", "BloomConfig", {"vocab_size": 99, "hidden_size": 32, "n_layer": 2, "n_head": 4}, _text),
    "gpt2": Small("GPT2LMHeadModel", "GPT2Config", {"vocab_size": 99, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}, _text),
    "gptj": Small("GPTJForCausalLM", "GPTJConfig", {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4}, _text),
    "gpt-neox": _decoder("GPTNeoX"),
    "opt": Small("OPTForCausalLM", "OPTConfig", {**_ENCODER, "ffn_dim": 64, "word_embed_proj_dim": 32}, _text),
    "cohere": _decoder("Cohere"),
    "falcon": Small("FalconForCausalLM", "FalconConfig", {**_ENCODER, **_SPECIAL}, _text),
    "gemma": _decoder("Gemma"),
    "gemma2": _decoder("Gemma2"),
    "gemma3": _decoder("Gemma3", "Gemma3TextConfig"),
    "llama": _decoder("Llama"),
    "mistral": _decoder("Mistral"),
    "phi": _decoder("Phi"),
    "phi3": _decoder("Phi3"),
    "qwen2": _decoder("Qwen2"),
    "qwen3": _decoder("Qwen3"),
    "deepseek-v3": _decoder(
        "DeepseekV3", expert_flops=_experts(2, 32, 32), num_key_value_heads=4, head_dim=None,
        num_experts_per_tok=2, moe_intermediate_size=32, n_routed_experts=4, n_group=1,
        topk_group=1, q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8,
        v_head_dim=8, first_k_dense_replace=1,
    ),
    "gpt-oss": _decoder("GptOss", num_local_experts=4, num_experts_per_tok=2, expert_flops=_experts(3, 32, 64)),
    "mixtral": _decoder("Mixtral", num_local_experts=4, num_experts_per_tok=2, expert_flops=_experts(3, 32, 64)),
    "qwen2-moe": _decoder("Qwen2Moe", num_experts=4, **_EXPERTS, expert_flops=_experts(3, 32, 32)),
    "qwen3-moe": _decoder("Qwen3Moe", num_experts=4, **_EXPERTS, expert_flops=_experts(3, 32, 32)),
    "mamba": Small("MambaForCausalLM", "MambaConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, _text),
    "mamba2": Small("Mamba2ForCausalLM", "Mamba2Config", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8}, _text),
    "recurrent-gemma": _decoder("RecurrentGemma", lru_width=32, attention_window_size=16),
    "rwkv": Small("RwkvModel", "RwkvConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2}, _text),
    "bart": Small("BartModel", "BartConfig", _TRANSLATOR, _text),
    "marian": Small("MarianModel", "MarianConfig", {**_TRANSLATOR, "forced_eos_token_id": None}, _two_texts),
    "m2m100": Small("M2M100Model", "M2M100Config", _TRANSLATOR, _two_texts),
    "pegasus": Small("PegasusModel", "PegasusConfig", _TRANSLATOR, _two_texts),
    "t5": Small("T5ForConditionalGeneration", "T5Config", {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}, _two_texts),
    "whisper": Small("WhisperForConditionalGeneration", "WhisperConfig", {**_TRANSLATOR, "num_mel_bins": 16, "max_source_positions": 50, "max_target_positions": 32, "begin_suppress_tokens": None, "suppress_tokens": None}, _spectrogram),
    "hubert": Small("HubertModel", "HubertConfig", _WAVES, _sound),
    "wav2vec2": Small("Wav2Vec2Model", "Wav2Vec2Config", _WAVES, _sound),
    "wavlm": Small("WavLMModel", "WavLMConfig", _WAVES, _sound),
    "beit": Small("BeitModel", "BeitConfig", _PATCHES, _picture()),
    "deit": Small("DeiTModel", "DeiTConfig", _PATCHES, _picture()),
    "dinov2": Small("Dinov2Model", "Dinov2Config", _PATCHES, _picture()),
    "vit": Small("ViTModel", "ViTConfig", _PATCHES, _picture()),
    "convnext": Small("ConvNextModel", "ConvNextConfig", {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 2, 1]}, _picture(64)),
    "mobilevit": Small("MobileViTModel", "MobileViTConfig", {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 16, 16, 24, 32, 40, 64], "image_size": 64}, _picture(64)),
    "resnet": Small("ResNetModel", "ResNetConfig", {"embedding_size": 16, "hidden_sizes": [16, 32], "depths": [1, 1]}, _picture(64)),
    "segformer": Small("SegformerForSemanticSegmentation", "SegformerConfig", {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 2, 4, 8], "decoder_hidden_size": 32}, _picture(64)),
    "swin": Small("SwinModel", "SwinConfig", {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4], "window_size": 4}, _picture()),
    "detr": Small("DetrForObjectDetection", "DetrConfig", _DETECTOR, _picture(64)),
    "conditional-detr": Small("ConditionalDetrForObjectDetection", "ConditionalDetrConfig", _DETECTOR, _picture(64)),
    "sam": Small("SamModel", "SamConfig", {
        "vision_config": _SAM_VISION,
        "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4},
        "mask_decoder_config": {"hidden_size": 16, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    }, _picture_and_points),
    "blip": Small("BlipModel", "BlipConfig", {"text_config": {**_ENCODER, **_SPECIAL, "encoder_hidden_size": 32, "projection_dim": 16, "sep_token_id": 2}, "vision_config": _PATCHES, "projection_dim": 16}, _picture_and_text),
    "clip": Small("CLIPModel", "CLIPConfig", {"text_config": {**_ENCODER, **_SPECIAL}, "vision_config": _PATCHES, "projection_dim": 16}, _picture_and_text),
    "siglip": Small("SiglipModel", "SiglipConfig", {"text_config": {**_ENCODER, **_SPECIAL}, "vision_config": _PATCHES}, _picture_and_text),
}  # fmt: skip


class Full(NamedTuple):
    """A model as it was published: its configuration, and how many parameters that has."""

    model: str
    config: str
    options: Mapping[str, Any]
    params: int

    def make(self) -> Any:
        """A new one; none of its weights need be there."""
        transformers = package("transformers")
        return getattr(transformers, self.model)(getattr(transformers, self.config)(**self.options))


PUBLISHED: dict[str, Full] = {
    "bert-base-uncased": Full("BertModel", "BertConfig", {}, 109_482_240),
    "distilbert-base-uncased": Full("DistilBertModel", "DistilBertConfig", {}, 66_362_880),
    "roberta-base": Full("RobertaModel", "RobertaConfig", {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}, 124_645_632),
    "xlm-roberta-base": Full("XLMRobertaModel", "XLMRobertaConfig", {"vocab_size": 250002, "max_position_embeddings": 514, "type_vocab_size": 1}, 278_043_648),
    "gpt2": Full("GPT2LMHeadModel", "GPT2Config", {}, 124_439_808),
    "gpt2-xl": Full("GPT2LMHeadModel", "GPT2Config", {"n_embd": 1600, "n_layer": 48, "n_head": 25}, 1_557_611_200),
    "t5-small": Full("T5ForConditionalGeneration", "T5Config", {}, 60_506_624),
    "bart-base": Full("BartModel", "BartConfig", {"d_model": 768, "encoder_layers": 6, "decoder_layers": 6, "encoder_attention_heads": 12, "decoder_attention_heads": 12, "encoder_ffn_dim": 3072, "decoder_ffn_dim": 3072}, 139_420_416),
    "llama-2-7b": Full("LlamaForCausalLM", "LlamaConfig", {}, 6_738_415_616),
    "llama-2-70b": Full("LlamaForCausalLM", "LlamaConfig", {"hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 28672}, 68_976_648_192),
    "mistral-7b": Full("MistralForCausalLM", "MistralConfig", {}, 7_241_732_096),
    "mixtral-8x7b": Full("MixtralForCausalLM", "MixtralConfig", {}, 46_702_792_704),
    "deepseek-v3": Full("DeepseekV3ForCausalLM", "DeepseekV3Config", {}, 671_026_404_352),
    "gpt-oss-120b": Full("GptOssForCausalLM", "GptOssConfig", {}, 116_829_156_672),
    "qwen2-0.5b": Full("Qwen2ForCausalLM", "Qwen2Config", {"vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True}, 494_032_768),
    "gemma-2b": Full("GemmaForCausalLM", "GemmaConfig", {"hidden_size": 2048, "intermediate_size": 16384, "num_hidden_layers": 18, "num_attention_heads": 8, "num_key_value_heads": 1}, 2_506_172_416),
    "mamba-130m": Full("MambaForCausalLM", "MambaConfig", {"vocab_size": 50280, "num_hidden_layers": 24}, 129_135_360),
    "whisper-tiny": Full("WhisperForConditionalGeneration", "WhisperConfig", {}, 37_760_640),
    "wav2vec2-base": Full("Wav2Vec2Model", "Wav2Vec2Config", {}, 94_371_712),
    "clip-vit-base-patch32": Full("CLIPModel", "CLIPConfig", {}, 151_277_313),
    "vit-base-patch16-224": Full("ViTModel", "ViTConfig", {}, 86_389_248),
}  # fmt: skip
"""What the files of these models on the Hugging Face hub hold, tied weights once. Of DeepSeek-V3
without its part that predicts a second token; its report says 671 B of parameters
(https://arxiv.org/abs/2412.19437), that of gpt-oss 116.83 B (https://arxiv.org/abs/2508.10925)."""
