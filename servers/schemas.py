"""What clients may send: typed and capped fields, and no others.

Where a call goes and with which credentials is the server's alone, so there is no field for an address, a key or a
header here, and unknown fields are refused; of those of a chat ``client_fields.py`` says which the settings allow.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic_core import PydanticCustomError

from las_langchain.errors import BadRequestError
from servers.client_fields import refuse_routing
from servers.extra_schemas import ChatExtras, Number

Json = dict[str, Any]
ModelName = Annotated[StrictStr, Field(min_length=1, max_length=256)]
ProviderName = Annotated[StrictStr, Field(min_length=1, max_length=64)]
Count = Annotated[StrictInt, Field(ge=1, le=2**31 - 1)]
Token = Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]
CHECKED = ConfigDict(extra="forbid", str_max_length=20_000_000, allow_inf_nan=False)
"""How every request is checked. Lists stop at their first wrong item: a million of them would take seconds to list."""
OPEN = ConfigDict(extra="allow", str_max_length=20_000_000, allow_inf_nan=False)
"""The same, but that unknown fields are looked at later, since the settings may allow them."""

MODEL = "provider/model, an alias, or a bare name"
DEFAULT_MODEL = f"{MODEL}; default: the server's"
PROVIDER = "Provider, where the model does not name it"


def _at_most(count: int) -> BeforeValidator:
    """Refuses an object with more than *count* entries before it looks at them."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > count:
            raise PydanticCustomError("too_long", "Object should have at most {count} entries", {"count": count})
        return value

    return BeforeValidator(check)


Metadata = Annotated[
    dict[Annotated[StrictStr, Field(max_length=64)], Annotated[StrictStr, Field(max_length=512)]],
    Field(max_length=16),
    _at_most(16),
]
Bias = Annotated[dict[Annotated[StrictStr, Field(max_length=20)], Number], Field(max_length=1024), _at_most(1024)]

# A model of its own would be a reference in the API documentation, and lead nowhere there.
StreamOptions = dict[Literal["include_usage", "include_obfuscation"], StrictBool | None]


_OWN = frozenset({"model", "provider", "stream"})
"""The fields that are not the body's."""


def sent(request: BaseModel) -> Json:
    """The fields of *request* that the client sent, but those that are not the body's.

    They are plain JSON, which need not be copied; of what is beside the fields nothing is left out without a word.
    """
    names = request.model_fields_set - _OWN
    found = {name: value for name, value in vars(request).items() if name in names}
    return {**found, **request.model_extra} if request.model_extra else found


class Streamed(BaseModel):
    """What is said of an answer that comes as it is made."""

    stream: StrictBool | None = Field(None, description="Whether the answer comes as server-sent events")
    stream_options: StreamOptions | None = Field(
        None, description="include_usage: whether a last event tells it; include_obfuscation: as OpenAI's"
    )

    def body(self) -> Json:
        """The fields that the client sent, without ``model`` and ``stream``.

        Raises:
            BadRequestError: there are options of a stream, and no stream; or a field that clients may never send.
        """
        refuse_routing(self.model_extra or ())
        if self.stream_options is not None and not self.stream:
            message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
            raise BadRequestError(message, param="stream_options", code="invalid_parameter_combination")
        return sent(self)


class _OpenAIChat(Streamed):
    messages: Annotated[list[Json], Field(min_length=1, max_length=10_000, fail_fast=True)] = Field(
        description="The conversation: objects with role and content"
    )
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = Field(None, description="Randomness; 0 is none")
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = Field(
        None, description="Only the likeliest tokens of this share of probability"
    )
    n: Annotated[StrictInt, Field(ge=1, le=128)] | None = Field(None, description="How many answers")
    stop: StrictStr | Annotated[list[StrictStr], Field(max_length=16, fail_fast=True)] | None = Field(
        None, description="Texts before which the answer ends"
    )
    max_tokens: Count | None = Field(None, description="Longest answer, in tokens")
    max_completion_tokens: Count | None = Field(None, description="Longest answer with its reasoning, in tokens")
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="How much to avoid tokens that are there already"
    )
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = Field(
        None, description="How much to avoid tokens, by how often they are there already"
    )
    logit_bias: Bias | None = Field(None, description="Token ids, each with what is added to its logit")
    logprobs: StrictBool | None = Field(None, description="Whether to tell each token's probability")
    top_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = Field(
        None, description="How many likely tokens to tell at each place"
    )
    seed: Annotated[StrictInt, Field(ge=-(2**63), le=2**63 - 1)] | None = Field(
        None, description="The same seed gives, where the provider can, the same answer"
    )
    response_format: Json | None = Field(None, description="Form of the answer: text, json_object or json_schema")
    tools: Annotated[list[Json], Field(max_length=128, fail_fast=True)] | None = Field(
        None, description="Functions that the model may call"
    )
    tool_choice: StrictStr | Json | None = Field(None, description="auto, none, required, or one of the tools")
    parallel_tool_calls: StrictBool | None = Field(None, description="Whether several tools may be called at once")
    functions: Annotated[list[Json], Field(max_length=128, fail_fast=True)] | None = Field(
        None, description="The older form of tools"
    )
    function_call: StrictStr | Json | None = Field(None, description="The older form of tool_choice")
    reasoning_effort: StrictStr | None = Field(None, description="How long to reason, such as low, medium or high")
    verbosity: StrictStr | None = Field(None, description="How long the answer is to be: low, medium or high")
    modalities: Annotated[list[StrictStr], Field(max_length=16, fail_fast=True)] | None = Field(
        None, description="What the answer consists of: text, audio"
    )
    audio: Json | None = Field(None, description="Voice and format of a spoken answer")
    prediction: Json | None = Field(None, description="Text that much of the answer will repeat")
    web_search_options: Json | None = Field(None, description="How the provider searches the web for the answer")
    service_tier: StrictStr | None = Field(None, description="The provider's service level")
    store: StrictBool | None = Field(None, description="Whether the provider keeps the answer")
    metadata: Metadata | None = Field(None, description="Labels that the provider keeps with a stored answer")
    user: StrictStr | None = Field(None, description="Your name for the end user")
    safety_identifier: StrictStr | None = Field(None, description="The end user, for the provider's abuse checks")
    prompt_cache_key: StrictStr | None = Field(None, description="Requests of one key share the provider's cache")
    prompt_cache_options: Json | None = Field(
        None, description="Where the provider's cache begins and how long it lasts"
    )
    prompt_cache_retention: StrictStr | None = Field(
        None, description="How long the provider keeps the prompt: in_memory, 24h"
    )
    moderation: Json | None = Field(None, description="Which moderation model sees the request and the answer")


class ChatFields(ChatExtras, _OpenAIChat):
    """The fields of OpenAI's chat request but ``model``, and those that other servers are known for."""

    model_config = OPEN


class ChatCompletionRequest(ChatFields):
    """A request to ``/v1/chat/completions``, as OpenAI documents it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "local/smollm2-135m-instruct",
                    "messages": [{"role": "user", "content": "What is the capital of France?"}],
                }
            ]
        }
    )

    model: ModelName = Field(description=MODEL)


Tokens = Annotated[list[Token], Field(fail_fast=True)]
Inputs = Annotated[list[StrictStr | Token | Tokens], Field(min_length=1, max_length=100_000, fail_fast=True)]


class EmbeddingFields(BaseModel):
    """The fields of OpenAI's embeddings request but ``model``."""

    model_config = CHECKED

    input: StrictStr | Inputs = Field(description="A text, texts, a text's tokens, or those of several texts")
    dimensions: Count | None = Field(None, description="Length of the vectors, where the model has several")
    encoding_format: Literal["float", "base64"] | None = Field(
        None, description="Numbers, or the same as base64 of 32-bit floats"
    )
    user: StrictStr | None = Field(None, description="Your name for the end user")

    def body(self) -> Json:
        """The fields of OpenAI's request that the client sent, without ``model``."""
        return sent(self)


class EmbeddingRequest(EmbeddingFields):
    """A request to ``/v1/embeddings``, as OpenAI documents it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "local/all-minilm-l6-v2", "input": ["a cat", "a dog"]}]}
    )

    model: ModelName = Field(description=MODEL)
