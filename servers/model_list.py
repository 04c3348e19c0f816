"""The models that can be called, and the chains, as OpenAI's list of models has them."""

from __future__ import annotations

import time
from typing import Any

from chains.registry import ChainRegistry
from las_langchain.errors import ModelNotFoundError
from las_langchain.providers import available_models, split_name
from las_langchain.service import LiteLLMService
from las_langchain.settings import LASSettings
from servers.chain_models import chain_models
from servers.chat_calls import CHAINS

Json = dict[str, Any]

_STARTED = int(time.time())


def listed_models(service: LiteLLMService, registry: ChainRegistry) -> list[Json]:
    """OpenAI's ``model`` objects: of models that can be called with the keys that there are, of aliases, and of chains,
    which have a ``name`` and a ``description`` too.

    It may import the chains, which takes a while the first time.
    """
    models = [_model(name) for name in available_models(service.settings)]
    return [*models, *(_model(chain["id"], **chain) for chain in chain_models(registry))]


def listed_model(name: str, service: LiteLLMService, registry: ChainRegistry) -> Json:
    """The ``model`` object of *name*, a model's id, an alias, a public model's bare name, or ``chains/<name>``.

    Raises:
        ModelNotFoundError: there is none.
    """
    settings = service.settings
    full = name if name in settings.models or name.startswith(CHAINS) else _full_name(name, settings)
    for model in listed_models(service, registry):
        if model["id"] in (name, full):
            return model
    raise ModelNotFoundError(
        f"The model {name!r:.200} is not available here; GET /v1/models lists those that are", param="model"
    )


def _full_name(name: str, settings: LASSettings) -> str | None:
    try:
        return "/".join(split_name(name, settings))
    except ModelNotFoundError:
        return None


def _model(name: str, /, **more: str) -> Json:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": name.partition("/")[0], **more}
