"""In which numbers the hardware trains best."""

import torch


def use_bf16(precision: str) -> bool:
    """Whether to compute in bf16; `auto` asks the hardware. T5 overflows in fp16 (transformers #4586)."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
