"""What others call the weights of encoders.

Each spelling has a name for every role of a weight. Where the query, key and value of an attention have one
name, they are stored as one array, in this order.
"""

from dataclasses import dataclass

from tfprior.encoders.base import Encoder
from tfprior.encoders.swin import Swin
from tfprior.encoders.vit import ViT


@dataclass(frozen=True)
class Spelling:
    """Names by role, and in front of those of a classifier's encoder.

    Names of a role may ask for the {block}, the {stage} and the {next} one.
    """

    names: dict[str, str]
    prefix: str = ""


def _spelling(
    around: dict[str, str], block: str, parts: dict[str, str], prefix: str = "", decoder: str = ""
) -> Spelling:
    blocks = {role: f"{block}.{name}" for role, name in parts.items()}
    if decoder:
        blocks |= {f"decoder_{role}": f"{decoder}.{name}" for role, name in parts.items()}
    return Spelling({**around, **blocks}, prefix)


# Hugging Face: what is around the blocks, and the parts of a block.

HUGGING_FACE_VIT = {
    "class_token": "embeddings.cls_token",
    "positions": "embeddings.position_embeddings",
    "patches": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
    "head": "classifier",
    "mask_token": "embeddings.mask_token",
    "pixels": "decoder.0",
    "decoder_mask_token": "decoder.mask_token",
    "decoder_positions": "decoder.decoder_pos_embed",
    "decoder_embed": "decoder.decoder_embed",
    "decoder_norm": "decoder.decoder_norm",
    "decoder_predict": "decoder.decoder_pred",
}
MAE_BLOCK = "decoder.decoder_layers.{block}"
HUGGING_FACE_SWIN = {
    "patches": "embeddings.patch_embeddings.projection",
    "embedding_norm": "embeddings.norm",
    "merging_norm": "encoder.layers.{stage}.downsample.norm",
    "reduce": "encoder.layers.{stage}.downsample.reduction",
    "norm": "layernorm",
    "head": "classifier",
    "mask_token": "embeddings.mask_token",
    "pixels": "decoder.0",
}
IN_FILES = {
    "attention_norm": "layernorm_before",
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "result": "attention.output.dense",
    "feed_forward_norm": "layernorm_after",
    "expand": "intermediate.dense",
    "contract": "output.dense",
}
IN_WINDOWS = {
    **IN_FILES,
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "table": "attention.self.relative_position_bias_table",
}
IN_MEMORY = {
    "attention_norm": "layernorm_before",
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "table": "attention.relative_position_bias.relative_position_bias_table",
    "result": "attention.o_proj",
    "feed_forward_norm": "layernorm_after",
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
}
DINOV2 = {
    "attention_norm": "norm1",
    "attention_scale": "layer_scale1.lambda1",
    "feed_forward_norm": "norm2",
    "feed_forward_scale": "layer_scale2.lambda1",
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
}

# Facebook, Microsoft and timm, whose blocks are alike.

FACEBOOK_VIT = {
    "class_token": "cls_token",
    "positions": "pos_embed",
    "patches": "patch_embed.proj",
    "norm": "norm",
    "fc_norm": "fc_norm",
    "head": "head",
    "decoder_mask_token": "mask_token",
    "decoder_positions": "decoder_pos_embed",
    "decoder_embed": "decoder_embed",
    "decoder_norm": "decoder_norm",
    "decoder_predict": "decoder_pred",
}
MICROSOFT_SWIN = {
    "patches": "patch_embed.proj",
    "embedding_norm": "patch_embed.norm",
    "merging_norm": "layers.{stage}.downsample.norm",
    "reduce": "layers.{stage}.downsample.reduction",
    "norm": "norm",
    "head": "head",
    "mask_token": "mask_token",
    "pixels": "decoder.0",
}
TIMM_SWIN = {
    **MICROSOFT_SWIN,
    "merging_norm": "layers.{next}.downsample.norm",
    "reduce": "layers.{next}.downsample.reduction",
    "head": "head.fc",
}
FUSED = {
    "attention_norm": "norm1",
    "query": "attn.qkv",
    "key": "attn.qkv",
    "value": "attn.qkv",
    "table": "attn.relative_position_bias_table",
    "result": "attn.proj",
    "attention_scale": "ls1.gamma",
    "feed_forward_norm": "norm2",
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
    "feed_forward_scale": "ls2.gamma",
}

SPELLINGS: dict[type[Encoder], dict[str, Spelling]] = {
    ViT: {
        "hugging_face": _spelling(HUGGING_FACE_VIT, "encoder.layer.{block}", IN_FILES, "vit.", MAE_BLOCK),
        "hugging_face_5": _spelling(HUGGING_FACE_VIT, "layers.{block}", IN_MEMORY, "vit.", MAE_BLOCK),
        "dinov2": _spelling(HUGGING_FACE_VIT, "encoder.layer.{block}", {**IN_FILES, **DINOV2}, "dinov2."),
        "dinov2_5": _spelling(HUGGING_FACE_VIT, "encoder.layer.{block}", {**IN_MEMORY, **DINOV2}, "dinov2."),
        "timm": _spelling(FACEBOOK_VIT, "blocks.{block}", FUSED, decoder="decoder_blocks.{block}"),
    },
    Swin: {
        "hugging_face": _spelling(
            HUGGING_FACE_SWIN, "encoder.layers.{stage}.blocks.{block}", IN_WINDOWS, "swin."
        ),
        "hugging_face_5": _spelling(
            HUGGING_FACE_SWIN, "encoder.layers.{stage}.blocks.{block}", IN_MEMORY, "swin."
        ),
        "microsoft": _spelling(MICROSOFT_SWIN, "layers.{stage}.blocks.{block}", FUSED),
        "timm": _spelling(TIMM_SWIN, "layers.{stage}.blocks.{block}", FUSED),
    },
}
"""Transformers of every version writes "hugging_face" and "dinov2"; "_5" is what it calls weights in memory
from version 5 on. "timm" is also Facebook's spelling of ViT, DINOv2 and MAE, "microsoft" that of Swin and
SimMIM.
"""
