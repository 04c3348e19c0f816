"""What the headers of an answer tell of the one request behind it, for what is no chat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from las_langchain.errors import BadRequestError
from las_langchain.exchanges import Exchange
from servers.chat_calls import CHAINS, transport_header


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose model and cost the headers tell, as those of a :class:`~servers.chat_calls.ChatCall`.

    Attributes:
        exchange: the request.
    """

    exchange: Exchange

    @property
    def model(self) -> str:
        """The id of the model that answers; of several that are tried, the last."""
        return self.exchange.target.id

    @property
    def cost(self) -> float | None:
        """What the answer cost in US dollars; None: it is not there yet, or its price is not known."""
        return self.exchange.record.cost_usd

    @property
    def headers(self) -> Mapping[str, str]:
        """By which transport the model was asked."""
        return transport_header(self.exchange.record)


def refuse_chains(model: str | None, what: str) -> None:
    """Refuse a chain where only a model will do.

    Args:
        model: the name that a client has sent.
        what: what chains do not do, such as ``embed nothing``.

    Raises:
        BadRequestError: *model* names a chain.
    """
    if model is not None and model.startswith(CHAINS):
        raise BadRequestError(f"model: chains {what}; GET /v1/models lists the models that can", param="model")
