"""The fields beside OpenAI's that servers of open models are known for: typed, capped, and refused where nobody takes
them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StrictBool, StrictFloat, StrictInt, StrictStr

Json = dict[str, Any]
Number = StrictFloat | StrictInt
_Share = Annotated[Number, Field(ge=0, le=1)]
_Penalty = Annotated[Number, Field(gt=0, le=10)]
# What an engine keeps in memory for each.
_Window = Annotated[StrictInt, Field(ge=-1, le=1_000_000)]
_TokenIds = Annotated[list[Annotated[StrictInt, Field(ge=0, le=2**31 - 1)]], Field(max_length=100_000, fail_fast=True)]
_Text = Annotated[StrictStr, Field(max_length=100_000)]

_Arguments = Annotated[dict[Annotated[StrictStr, Field(max_length=64)], Any], Field(max_length=64)]


class SamplingFields(BaseModel):
    """How servers of open models choose the next token."""

    top_k: Annotated[StrictInt, Field(ge=-1, le=1_000_000)] | None = Field(
        None, description="Only so many of the likeliest tokens. Ollama, vLLM, local, Anthropic, Gemini"
    )
    min_p: _Share | None = Field(
        None, description="Only tokens of this share of the likeliest one's probability. Ollama, vLLM, local"
    )
    typical_p: _Share | None = Field(None, description="How typical tokens must be. Ollama, local")
    top_n_sigma: Annotated[Number, Field(ge=-1, le=100)] | None = Field(
        None, description="Only tokens within so many standard deviations of the likeliest. Local"
    )
    repeat_penalty: _Penalty | None = Field(None, description="Above 1 avoids what is there. Ollama, vLLM, local")
    repetition_penalty: _Penalty | None = Field(None, description="Another name of repeat_penalty")
    repeat_last_n: _Window | None = Field(None, description="So many tokens count as there. Ollama, local")
    length_penalty: Annotated[Number, Field(ge=-10, le=10)] | None = Field(
        None, description="Above 0 prefers long answers. vLLM"
    )
    mirostat: Annotated[StrictInt, Field(ge=0, le=2)] | None = Field(
        None, description="Mirostat sampling: 0 for none, or its version. Ollama, local"
    )
    mirostat_tau: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None, description="Mirostat's target surprise. Ollama, local"
    )
    mirostat_eta: _Share | None = Field(None, description="Mirostat's learning rate. Ollama, local")
    xtc_probability: _Share | None = Field(None, description="How often the likeliest tokens are left out. Local")
    xtc_threshold: _Share | None = Field(None, description="Which tokens these are. Local")
    dry_multiplier: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None, description="How much to avoid repeated sequences. Local"
    )
    dry_base: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        None, description="How that grows with their length. Local"
    )
    dry_allowed_length: Annotated[StrictInt, Field(ge=0, le=1_000_000)] | None = Field(
        None, description="The longest sequence that may be repeated. Local"
    )
    ignore_eos: StrictBool | None = Field(None, description="Whether the model may not end by itself. vLLM, local")
    min_tokens: Annotated[StrictInt, Field(ge=0, le=1_000_000)] | None = Field(
        None, description="Shortest answer, in tokens. vLLM"
    )
    stop_token_ids: _TokenIds | None = Field(None, description="Tokens that end the answer. vLLM")
    allowed_token_ids: _TokenIds | None = Field(None, description="Tokens that there may be. vLLM")
    bad_words: Annotated[list[_Text], Field(max_length=1000, fail_fast=True)] | None = Field(
        None, description="Words that there may not be. vLLM"
    )
    skip_special_tokens: StrictBool | None = Field(None, description="Whether special tokens are not shown. vLLM")
    spaces_between_special_tokens: StrictBool | None = Field(None, description="How they are shown. vLLM")
    include_stop_str_in_output: StrictBool | None = Field(None, description="Whether the stop text is shown. vLLM")
    prompt_logprobs: Annotated[StrictInt, Field(ge=0, le=20)] | None = Field(
        None, description="How many likely tokens to tell at each place of the prompt. vLLM"
    )
    num_ctx: Annotated[StrictInt, Field(ge=1, le=1_048_576)] | None = Field(
        None, description="Length of the context, in tokens. Ollama"
    )
    num_predict: Annotated[StrictInt, Field(ge=-2, le=2**31 - 1)] | None = Field(
        None, description="Ollama's name of max_tokens"
    )
    guided_json: Json | _Text | None = Field(None, description="JSON schema of the answer. vLLM, local")
    guided_regex: _Text | None = Field(None, description="Regular expression of the answer. vLLM")
    guided_choice: Annotated[list[_Text], Field(min_length=1, max_length=1000, fail_fast=True)] | None = Field(
        None, description="Answers to choose from. vLLM"
    )
    guided_grammar: _Text | None = Field(None, description="Grammar of the answer. vLLM")
    structured_outputs: Json | None = Field(None, description="Form of the answer, as vLLM takes it")


class ChatExtras(SamplingFields):
    """The fields beside OpenAI's of a chat request."""

    thinking: Json | None = Field(None, description="Anthropic's way to say how long to reason. Anthropic, Gemini")
    think: StrictBool | Literal["low", "medium", "high", "max"] | None = Field(
        None, description="Whether, or how long, to reason. Ollama"
    )
    include_reasoning: StrictBool | None = Field(None, description="Whether the reasoning is told. vLLM")
    keep_alive: Annotated[Number, Field(ge=-1, le=86_400)] | Annotated[StrictStr, Field(max_length=20)] | None = Field(
        None, description="How long the model stays loaded, in seconds or such as 5m. Ollama"
    )
    chat_template_kwargs: _Arguments | None = Field(
        None, description="What the chat template is told, such as enable_thinking. vLLM, local"
    )
    add_generation_prompt: StrictBool | None = Field(None, description="Whether the template begins the answer. vLLM")
    continue_final_message: StrictBool | None = Field(None, description="Whether to go on with the last message. vLLM")
