"""Which certificate of trust of a bundle covers a summary (docs/trust.md)."""

from precis.bundle.reports import TrustCertificate
from precis.bundle.verify import Bundle
from precis.errors import GenerationError
from precis.params import GenerationParams, resolve


def covering_certificate(bundle: Bundle, params: GenerationParams) -> TrustCertificate | None:
    """The bundle's certificate of the mode of `params`, if their summaries are made as those that it was measured on.

    Raises GenerationError.
    """
    config = bundle.generation_config
    resolved = resolve(params, config)
    certificate = bundle.manifest.certificate(resolved.mode)
    if certificate is None or params.long_text != "split":
        return None
    return certificate if resolved == resolve(GenerationParams(mode=resolved.mode), config) else None


def check_min_trust(bundle: Bundle, params: GenerationParams) -> None:
    """Raises GenerationError if no certificate covers summaries by `params`, for which a least trust is asked."""
    if covering_certificate(bundle, params) is not None:
        return
    mode = resolve(params, bundle.generation_config).mode
    if bundle.manifest.certificate(mode) is not None:
        message = f"holds for mode {mode} with the bundle's own parameters only, which this request changes."
        raise GenerationError("min_trust", message)
    raise GenerationError("min_trust", f"needs a certificate of trust for mode {mode}, which this bundle has not.")
