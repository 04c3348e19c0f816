"""The fields of requests: OpenAI's, and those of other servers, which go only where somebody knows them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from las_langchain.errors import BadRequestError

Json = dict[str, Any]

OPENAI_FIELDS = frozenset(
    "messages temperature top_p n stop max_tokens max_completion_tokens presence_penalty frequency_penalty logit_bias "
    "user response_format seed tools tool_choice parallel_tool_calls logprobs top_logprobs modalities audio prediction "
    "reasoning_effort verbosity service_tier store metadata moderation web_search_options safety_identifier "
    "prompt_cache_key prompt_cache_options prompt_cache_retention stream_options functions function_call".split()
)
"""The fields of OpenAI's chat request but ``model`` and ``stream``."""

CHAT_FIELDS = OPENAI_FIELDS.union(("top_k", "thinking", "extra_body", "extra_headers"))
"""The fields of a chat request that are passed on: OpenAI's, and some of several providers."""

OPENAI_COMPLETION_FIELDS = frozenset(
    "prompt suffix max_tokens temperature top_p n stream_options logprobs echo stop presence_penalty frequency_penalty "
    "best_of logit_bias user seed".split()
)
"""The fields of OpenAI's older completion request but ``model`` and ``stream``."""

COMPLETION_FIELDS = OPENAI_COMPLETION_FIELDS.union(("extra_body", "extra_headers"))
"""The fields of a completion request that are passed on."""

EMBEDDING_FIELDS = frozenset("input dimensions encoding_format user extra_body extra_headers".split())
"""The fields of an embeddings request that are passed on."""

_COMMON = "top_k min_p repeat_penalty repetition_penalty"
_LLAMA = f"{_COMMON} typical_p repeat_last_n mirostat mirostat_tau mirostat_eta"
OLLAMA_OPTIONS = frozenset(f"{_LLAMA} num_ctx num_predict".split())
"""Fields that Ollama takes among its ``options``."""
OLLAMA_FIELDS = OLLAMA_OPTIONS.union(("think", "keep_alive"))
"""What clients may send to Ollama beside OpenAI's fields."""
LOCAL_FIELDS = frozenset(
    f"{_LLAMA} top_n_sigma xtc_probability xtc_threshold dry_multiplier dry_base dry_allowed_length ignore_eos "
    "chat_template_kwargs guided_json".split()
)
"""What clients may send to the model in this process beside OpenAI's fields."""
VLLM_FIELDS = frozenset(
    f"{_COMMON} length_penalty min_tokens stop_token_ids allowed_token_ids bad_words ignore_eos skip_special_tokens "
    "spaces_between_special_tokens include_stop_str_in_output prompt_logprobs add_generation_prompt "
    "continue_final_message include_reasoning chat_template_kwargs structured_outputs guided_json guided_regex "
    "guided_choice guided_grammar".split()
)
"""What clients may send to vLLM beside OpenAI's fields."""
EXTRA_FIELDS = OLLAMA_FIELDS | LOCAL_FIELDS | VLLM_FIELDS
"""The fields beside OpenAI's that servers of open models are known for."""

# Where a call goes, with which credentials, what becomes of it: the server's alone, whoever asks for it.
_ROUTING = frozenset(
    "api_base api_key api_type api_version azure base_url base_model cache caching client client_id client_secret "
    "context_window_fallback_dict context_window_fallbacks cooldown_time custom_llm_provider custom_prompt_dict "
    "default_headers default_query deployment_id drop_params engine extra_body extra_headers extra_query fallbacks "
    "guardrails headers hf_model_name http_client input_cost_per_token organization "
    "output_cost_per_token logger_fn max_retries messages model model_alias_map model_config model_info model_list "
    "no-log num_retries prompt_id prompt_variables provider_specific_header proxies proxy region_name "
    "request_timeout retry_policy routing_strategy secret_fields shared_session ssl_verify stream "
    "stream_timeout tenant_id timeout user_config verbose vertex_ai_credentials".split()
)
_ROUTING_SHAPE = re.compile(
    r"_.*|(mock|aws|azure|vertex|oci|s3|gcs|litellm|langfuse|langsmith|anthropic_(?!beta)|openai|watsonx|bedrock|sagemaker"
    r"|databricks|auto_router|allowed_openai|additional_drop)_.*|.*(_cost|cost_per_.*|_url|_key|_secret|_token|_password"
    r"|_credentials|_endpoint|_api_base|_fallbacks)"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")


def is_routing(name: str) -> bool:
    """Whether *name* may be the field of a request that says where it goes, or with which credentials."""
    plain = name.lower().replace("-", "_")
    return plain in _ROUTING or name.lower() in _ROUTING or bool(_ROUTING_SHAPE.fullmatch(plain[:100]))


def check_extra_fields(names: Iterable[str]) -> list[str]:
    """*names*, sorted, if clients may be allowed to send fields of these names.

    Raises:
        ValueError: one is no name, or says where a call goes or with which credentials.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r:.80} is not the name of a request's field")
        if is_routing(name):
            raise ValueError(f"{name!r:.80} cannot be left to clients: it may say where a call goes, or with which key")
    return sorted(set(names))


def for_provider(body: Json, known: frozenset[str], allowed: frozenset[str]) -> Json:
    """*body* as a provider gets it: fields that are not *known*, and not *allowed* for it, are left out.

    What only some servers know goes into ``extra_body``.
    """
    kept = {name: value for name, value in body.items() if name in known or name in allowed}
    plain = CHAT_FIELDS if known == OPENAI_FIELDS else known
    own = {name: kept.pop(name) for name in list(kept) if name not in plain and name != "extra_body"}
    return {**kept, "extra_body": {**own, **(kept.get("extra_body") or {})}} if own else kept


def unknown_field(name: str, why: str) -> BadRequestError:
    """What to tell a client that has sent a field which nobody takes."""
    message = f"Unrecognized request argument supplied: {name:.100}{why}"
    return BadRequestError(message, param=name[:100], code="unknown_parameter")
