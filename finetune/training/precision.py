"""Chooses the number format that training computes in."""

import torch


def use_bf16(precision: str) -> bool:
    """Whether to compute in bf16. `auto` asks the hardware. fp16 is no option: T5 overflows (transformers #4586)."""
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_tile"))
