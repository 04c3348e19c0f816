"""A vision projector with random weights, for the embedded chat model: it sees nothing sensible, but it sees."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path

import gguf
import numpy as np

HIDDEN, WIDTH, IMAGE, PATCH = 576, 32, 32, 8


def write_projector(path: Path) -> None:
    """Write a projector in the form of gemma3's, one layer deep, whose output fits SmolLM2-135M."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("gemma3")
    writer.add_vision_projection_dim(HIDDEN)
    writer.add_vision_image_size(IMAGE)
    writer.add_vision_patch_size(PATCH)
    writer.add_vision_embedding_length(WIDTH)
    writer.add_vision_feed_forward_length(2 * WIDTH)
    writer.add_vision_block_count(1)
    writer.add_vision_head_count(2)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    writer.add_vision_projector_scale_factor(2)
    writer.add_vision_use_gelu(True)
    random = np.random.default_rng(0)
    for name, shape in _shapes().items():
        writer.add_tensor(name, (random.standard_normal(shape) * 0.05).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (WIDTH, 3, PATCH, PATCH),
        "v.patch_embd.bias": (WIDTH,),
        "v.position_embd.weight": ((IMAGE // PATCH) ** 2, WIDTH),
        "v.blk.0.ffn_up.weight": (2 * WIDTH, WIDTH),
        "v.blk.0.ffn_up.bias": (2 * WIDTH,),
        "v.blk.0.ffn_down.weight": (WIDTH, 2 * WIDTH),
        "v.blk.0.ffn_down.bias": (WIDTH,),
        "v.post_ln.weight": (WIDTH,),
        "v.post_ln.bias": (WIDTH,),
        "mm.input_projection.weight": (WIDTH, HIDDEN),
        "mm.soft_emb_norm.weight": (WIDTH,),
    }
    for layer in ("attn_q", "attn_k", "attn_v", "attn_out"):
        shapes |= {f"v.blk.0.{layer}.weight": (WIDTH, WIDTH), f"v.blk.0.{layer}.bias": (WIDTH,)}
    for norm in ("ln1", "ln2"):
        shapes |= {f"v.blk.0.{norm}.weight": (WIDTH,), f"v.blk.0.{norm}.bias": (WIDTH,)}
    return shapes


def png_url(red: int, green: int, blue: int, side: int = 16) -> str:
    """A data URL of a plain PNG image."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes((red, green, blue)) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
