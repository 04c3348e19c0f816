"""What a model can do, as LangChain's ``ModelProfile``."""

from __future__ import annotations

from typing import Any, cast

from langchain_core.language_models import ModelProfile

from las_langchain.catalog import model_info
from las_langchain.settings import LASSettings

Json = dict[str, Any]

# LangChain's names for what the table calls `supports_…`.
_ABILITIES = {
    "image_inputs": "supports_vision",
    "image_url_inputs": "supports_vision",
    "pdf_inputs": "supports_pdf_input",
    "audio_inputs": "supports_audio_input",
    "video_inputs": "supports_video_input",
    "audio_outputs": "supports_audio_output",
    "reasoning_output": "supports_reasoning",
    "tool_calling": "supports_function_calling",
    "tool_choice": "supports_tool_choice",
    "structured_output": "supports_response_schema",
}
_LIMITS = ("max_input_tokens", "max_output_tokens")


def model_profile(provider: str, model: str, settings: LASSettings) -> ModelProfile | None:
    """The profile of *model*: of an embedded model as it is set up, of any other as litellm's table has it.

    Returns:
        None for a model that the table does not list.
    """
    if provider == "local":
        return _embedded(settings)
    row = model_info(provider, model)
    return _listed(row) if row else None


def _embedded(settings: LASSettings) -> ModelProfile:
    return ModelProfile(
        max_input_tokens=settings.local_context,
        text_inputs=True,
        text_outputs=True,
        image_inputs=settings.local_mmproj is not None,
        image_url_inputs=False,
        tool_calling=True,
        tool_choice=True,
        # It holds its answers to a schema, but not beside tools; the arguments of a tool it fills in better.
        structured_output=False,
        temperature=True,
    )


def _listed(row: Json) -> ModelProfile:
    profile: Json = {name: bool(row.get(key, False)) for name, key in _ABILITIES.items()}
    # A listed number may be text where the provider does not say it.
    profile |= {name: row[name] for name in _LIMITS if isinstance(row.get(name), int)}
    outputs = row.get("supported_output_modalities", ())
    profile |= {"text_inputs": True, "text_outputs": True, "image_outputs": "image" in outputs}
    return cast("ModelProfile", profile)
