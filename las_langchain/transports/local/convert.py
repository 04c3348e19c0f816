"""Convert the all-MiniLM-L6-v2 sentence encoder from safetensors to GGUF.

The names of keys and tensors follow llama.cpp's ``bert`` architecture:
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gguf
    import numpy as np

SKIPPED_TENSORS = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")


def minilm_to_gguf(source: Path, target: Path) -> None:
    """Write the encoder in *source* to *target* as a Q8_0 GGUF file of about 25 MB.

    Args:
        source: folder with ``model.safetensors``, ``config.json`` and ``vocab.txt``.
        target: file to write; replaced if it exists.
    """
    import gguf

    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tokens = (source / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    writer = gguf.GGUFWriter(target, "bert")
    _write_hyperparameters(writer, config)
    _write_vocabulary(writer, tokens)
    for name, array in _tensors(source / "model.safetensors", config["num_hidden_layers"]):
        _write_tensor(writer, name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_hyperparameters(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    import gguf

    writer.add_name("all-MiniLM-L6-v2")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)


def _write_vocabulary(writer: gguf.GGUFWriter, tokens: list[str]) -> None:
    import gguf

    special = {token: index for index, token in enumerate(tokens) if token.startswith("[") and token.endswith("]")}
    control = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token if token in special else _llama_token(token) for token in tokens])
    writer.add_token_types([control if token in special else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_type_count(2)
    writer.add_bos_token_id(special["[CLS]"])
    writer.add_eos_token_id(special["[SEP]"])
    writer.add_unk_token_id(special["[UNK]"])
    writer.add_sep_token_id(special["[SEP]"])
    writer.add_pad_token_id(special["[PAD]"])
    writer.add_mask_token_id(special["[MASK]"])


def _llama_token(token: str) -> str:
    """WordPiece marks the inside of a word (``##ing``); llama.cpp marks its beginning (``▁ing``)."""
    return token.removeprefix("##") if token.startswith("##") else "\u2581" + token


def _tensors(path: Path, blocks: int) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    import gguf
    from safetensors.numpy import load_file

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.BERT, blocks)
    for name, array in load_file(path).items():
        if name in SKIPPED_TENSORS:
            continue
        mapped = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if mapped is None:
            raise ValueError(f"{path.name} holds a tensor that a MiniLM encoder does not have: {name}")
        yield mapped, array


def _write_tensor(writer: gguf.GGUFWriter, name: str, array: np.ndarray[Any, Any]) -> None:
    import gguf

    # The engine adds position and type embeddings and norms in full precision.
    full_precision = array.ndim == 1 or name in ("position_embd.weight", "token_types.weight")
    kind = gguf.GGMLQuantizationType.F32 if full_precision else gguf.GGMLQuantizationType.Q8_0
    data = array if full_precision else gguf.quants.quantize(array, kind)
    writer.add_tensor(name, data, raw_dtype=kind)
