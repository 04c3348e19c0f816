"""The providers as rows of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from las_langchain.fields import LOCAL_FIELDS, OLLAMA_FIELDS, VLLM_FIELDS


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    Attributes:
        name: the prefix of its models' ids.
        title: its name for people.
        example: a model id.
        features: what it offers.
        key_variables: environment variables that hold its credentials; the first is the key. Empty: none is needed.
        optional_keys: environment variables that may hold a key where none is needed.
        base_url: address of its API where litellm is not left to know it.
        base_url_variables: environment variables that replace *base_url*, first wins.
        docs: where its models and keys are described.
        litellm_name: litellm's prefix for it, where that differs from *name*.
        signs_with: credentials of this machine that litellm finds by itself, in place of a key.
        option_variables: litellm's arguments that have variables of their own, first wins.
        key_options: litellm's arguments in the settings' ``options`` that stand in for a key.
        extra_fields: what clients may send to it beside OpenAI's fields.
        completes: whether it has OpenAI's older endpoint, which goes on with a text.
        wire: address of its API in OpenAI's own format; empty: *base_url*, or none by default. None: it has a format of
            its own.
        headers: who calls, as it lists its callers.
    """

    name: str
    title: str
    example: str
    features: tuple[str, ...]
    docs: str
    key_variables: tuple[str, ...] = ()
    optional_keys: tuple[str, ...] = ()
    base_url: str | None = None
    base_url_variables: tuple[str, ...] = ()
    litellm_name: str | None = None
    signs_with: str | None = None
    option_variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    key_options: tuple[str, ...] = ()
    extra_fields: frozenset[str] = frozenset()
    completes: bool = False
    wire: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def keyless(self) -> bool:
        """Whether it answers without a key."""
        return not self.key_variables


# litellm knows these of Anthropic's, and what stands for them elsewhere.
CLAUDE_FIELDS = frozenset({"top_k", "thinking"})
"""What clients may send to Claude, wherever it is, beside OpenAI's fields."""
_DOCS = "https://docs.litellm.ai/docs/providers/"

PROVIDERS: dict[str, Provider] = {
    row.name: row
    for row in (
        Provider(
            "local", "Embedded models", "local/smollm2-135m-instruct",
            ("in process", "tools", "embeddings"), "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
            extra_fields=LOCAL_FIELDS,
        ),
        Provider(
            "ollama", "Ollama", "ollama/llama3.2", ("local", "tools", "vision", "embeddings"), _DOCS + "ollama",
            optional_keys=("OLLAMA_API_KEY",), base_url="http://localhost:11434",
            base_url_variables=("OLLAMA_BASE_URL", "OLLAMA_API_BASE"), litellm_name="ollama_chat",
            extra_fields=OLLAMA_FIELDS,
            wire="",
        ),
        Provider(
            "openai", "OpenAI", "openai/gpt-4o", ("vision", "tools", "embeddings", "speech", "transcription"),
            _DOCS + "openai", ("OPENAI_API_KEY",), base_url_variables=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            option_variables={"organization": ("OPENAI_ORGANIZATION", "OPENAI_ORG_ID")}, completes=True,
            wire="https://api.openai.com/v1",
        ),
        Provider(
            "anthropic", "Anthropic", "anthropic/claude-sonnet-5-5", ("vision", "tools"),
            _DOCS + "anthropic", ("ANTHROPIC_API_KEY",),
            base_url_variables=("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"), extra_fields=CLAUDE_FIELDS,
        ),
        Provider(
            "gemini", "Google Gemini", "gemini/gemini-2.0-flash-exp", ("vision", "tools", "embeddings", "1M+ context"),
            _DOCS + "gemini", ("GEMINI_API_KEY", "GOOGLE_API_KEY"), base_url_variables=("GEMINI_API_BASE",),
            extra_fields=CLAUDE_FIELDS,
        ),
        Provider(
            "groq", "Groq", "groq/llama-3.3-70b-versatile", ("fast inference", "tools"), _DOCS + "groq",
            ("GROQ_API_KEY",), base_url_variables=("GROQ_API_BASE",),
            wire="https://api.groq.com/openai/v1",
        ),
        Provider(
            "openrouter", "OpenRouter", "openrouter/anthropic/claude-3.5-sonnet", ("many providers", "tools", "vision"),
            _DOCS + "openrouter", ("OPENROUTER_API_KEY",), base_url_variables=("OPENROUTER_API_BASE",),
            wire="https://openrouter.ai/api/v1",
            headers={"HTTP-Referer": "http://localhost", "X-Title": "las-langchain"},
        ),
        Provider(
            "huggingface", "Hugging Face", "huggingface/meta-llama/Llama-3.2-3B-Instruct", ("many models", "tools"),
            _DOCS + "huggingface", ("HF_TOKEN", "HUGGINGFACE_API_KEY"), base_url="https://router.huggingface.co/v1",
            base_url_variables=("HF_API_BASE", "HUGGINGFACE_API_BASE"),
            # litellm's own prefix asks the hub for a model's length, four times a call and in the event loop's way.
            litellm_name="hosted_vllm",
            wire="",
        ),
        Provider(
            "together_ai", "Together AI", "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo",
            ("fast inference", "tools", "embeddings"), _DOCS + "togetherai", ("TOGETHERAI_API_KEY", "TOGETHER_API_KEY"),
            base_url_variables=("TOGETHER_AI_API_BASE",),
            wire="https://api.together.ai/v1",
        ),
        Provider(
            "deepseek", "DeepSeek", "deepseek/deepseek-chat", ("code", "reasoning", "tools"), _DOCS + "deepseek",
            ("DEEPSEEK_API_KEY",), base_url_variables=("DEEPSEEK_API_BASE",),
            wire="https://api.deepseek.com/beta",
        ),
        Provider(
            "azure", "Azure OpenAI", "azure/gpt-4", ("enterprise", "vision", "tools", "embeddings"), _DOCS + "azure",
            ("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"), base_url_variables=("AZURE_API_BASE", "AZURE_OPENAI_ENDPOINT"),
            option_variables={"api_version": ("AZURE_API_VERSION", "OPENAI_API_VERSION")},
            key_options=("azure_ad_token", "azure_ad_token_provider", "client_secret", "azure_password"),
            wire="",
        ),
        Provider(
            "bedrock", "AWS Bedrock", "bedrock/anthropic.claude-3-sonnet",
            ("enterprise", "vision", "tools", "embeddings"), _DOCS + "bedrock", signs_with="the AWS credentials",
            extra_fields=CLAUDE_FIELDS,
            base_url_variables=("AWS_BEDROCK_RUNTIME_ENDPOINT",),
            option_variables={
                "aws_access_key_id": ("AWS_ACCESS_KEY_ID",), "aws_secret_access_key": ("AWS_SECRET_ACCESS_KEY",),
                "aws_session_token": ("AWS_SESSION_TOKEN",),
                "aws_region_name": ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"),
            },
        ),
        Provider(
            "vllm", "vLLM", "vllm/model-name", ("self-hosted", "tools", "vision", "embeddings"), _DOCS + "vllm",
            optional_keys=("HOSTED_VLLM_API_KEY",), base_url="http://localhost:8000/v1",
            base_url_variables=("VLLM_BASE_URL", "HOSTED_VLLM_API_BASE"), litellm_name="hosted_vllm",
            extra_fields=VLLM_FIELDS, completes=True,
            wire="",
        ),
    )
}  # fmt: skip
