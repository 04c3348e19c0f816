"""Which deployment of a model alias takes the next call: litellm's Router decides, the service calls.

Only the choice is the Router's: its strategies, weights, limits and cooldowns. The calls themselves go through the
transports, with the service's retries, deadlines and cancelling, and reach models in this process too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import litellm
from litellm.types.router import RouterRateLimitError

from las_langchain.deployments import AliasSettings, DeploymentSettings, alias_of
from las_langchain.errors import AuthenticationError, ConfigurationError, LASError
from las_langchain.prices import own_prices, price_row
from las_langchain.providers import Overrides, Target, deployed, split_name
from las_langchain.records import CallRecord
from las_langchain.settings import LASSettings

Json = dict[str, Any]

# Where each of its strategies keeps what it learns of the calls.
_LEARNERS = ("leastbusy_logger", "lowestlatency_logger", "lowestcost_logger")


# It takes 0 for an unknown price.
_NEXT_TO_NOTHING = 1e-12
_LONGEST_COOLDOWN = 86_400.0


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """No deployment can take a call now.

    Attributes:
        seconds: after which one will have cooled down; None: unknown.
    """

    seconds: float | None


class Router:
    """The deployments of all aliases.

    Args:
        settings: ``models`` and ``routing``.

    Raises:
        ConfigurationError: litellm makes no Router of them.
    """

    def __init__(self, settings: LASSettings) -> None:
        self._deployments = {
            f"{alias}#{index}": deployment
            for alias, entry in settings.models.items()
            for index, deployment in enumerate(entry.deployments)
        }
        self._cooldown_time = settings.routing.cooldown_time
        self._orders = {alias: _orders(entry) for alias, entry in settings.models.items()}
        self._router = self._made(settings)
        self._learners = [learner for name in _LEARNERS if (learner := getattr(self._router, name, None))]
        # They would hear of litellm's calls, which they are told of here, whatever the transport.
        self._router.discard()
        for learner in self._learners:
            for callbacks in (litellm.callbacks, litellm.input_callback):
                callbacks[:] = [callback for callback in callbacks if callback is not learner]

    def _made(self, settings: LASSettings) -> litellm.Router:
        entries = [
            _entry(key, deployment, self._orders[_alias(key)], settings)
            for key, deployment in self._deployments.items()
        ]
        routing = settings.routing
        try:
            return litellm.Router(
                model_list=entries,
                routing_strategy=routing.strategy,
                allowed_fails=routing.allowed_fails,
                cooldown_time=routing.cooldown_time,
                num_retries=0,
            )
        except Exception as error:
            # Behind it pydantic repeats what was given.
            reason = " ".join(str(error).partition(" [type=")[0].split())[:300]
            raise ConfigurationError(
                f"models: litellm makes no Router of the aliases: {reason}", param="models"
            ) from None

    async def pick(
        self,
        settings: LASSettings,
        name: str,
        overrides: Overrides,
        messages: Any = None,
        excluded: Iterable[str] = (),
    ) -> Target | NothingLeft:
        """The deployment of the alias *name* that is to be asked next.

        Args:
            settings: the call's, for keys, addresses and waits; their aliases are this router's.
            name: the model as the caller named it.
            overrides: as for :func:`~las_langchain.providers.resolve`.
            messages: the request's, by which some strategies weigh it.
            excluded: ids of deployments that are not wanted again.
        """
        unusable: list[str] = []
        while True:
            chosen = await self._choose(settings, name, messages, [*excluded, *unusable])
            if isinstance(chosen, NothingLeft):
                return chosen
            try:
                target = deployed(self._deployments[chosen], name, settings, overrides)
            except AuthenticationError:
                unusable.append(chosen)
                if len(unusable) == len(settings.models[_alias(chosen)].deployments):
                    raise
                continue
            return replace(target, alias=_alias(chosen), asked=name, deployment=chosen)

    async def _choose(self, settings: LASSettings, name: str, messages: Any, excluded: list[str]) -> str | NothingLeft:
        chosen = await self._chosen(name, messages, excluded)
        # It looks no further than at the lowest order, whether or not that is excluded.
        for order in self._orders[alias_of(name, settings.models) or name] if excluded else ():
            if isinstance(chosen, str):
                break
            found = await self._chosen(name, messages, excluded, order)
            chosen = found if isinstance(found, str) else chosen
        return chosen

    async def _chosen(
        self, name: str, messages: Any, excluded: list[str], order: int | None = None
    ) -> str | NothingLeft:
        request: Json = {"_excluded_deployment_ids": excluded, "_target_order": order, "metadata": {}}
        try:
            found = await self._router.async_get_available_deployment(
                model=name, request_kwargs=request, messages=messages
            )
        except RouterRateLimitError as error:
            return NothingLeft(error.cooldown_time or None)
        except (ValueError, litellm.BadRequestError, litellm.RateLimitError):
            return NothingLeft(None)
        return str(found["model_info"]["id"])

    def began(self, target: Target) -> None:
        """Note that *target* was asked."""
        for learner in self._learners:
            learner.log_pre_api_call(target.litellm_model, None, _told(target))

    def succeeded(self, target: Target, record: CallRecord, seconds: float) -> None:
        """Note that *target* has answered, after *seconds*."""
        told = _told(target) | {"stream": record.stream}
        end = datetime.now(UTC)
        start = end - timedelta(seconds=seconds)
        self._router.sync_deployment_callback_on_success(told, None, start, end)
        for learner in self._learners:
            learner.log_success_event(told, None, start, end)

    def failed(self, target: Target, error: LASError) -> None:
        """Note that *target* failed; too often, or for so long, and it is left alone for a while."""
        key, away = str(target.deployment), min(error.retry_after or 0.0, _LONGEST_COOLDOWN)
        cooldown_time = self._cooldown_time_of(key)
        told = _told(target) | {"exception": error}
        told["litellm_params"]["model_info"]["cooldown_time"] = max(cooldown_time, away) if cooldown_time else 0
        now = datetime.now(UTC)
        cooled = self._router.deployment_callback_on_failure(told, None, now, now)
        if cooldown_time and away and error.is_retryable and not cooled:
            self._leave_alone(key, error, away)
        for learner in self._learners:
            learner.log_failure_event(told, None, now, now)

    def _cooldown_time_of(self, key: str) -> float:
        routing = self._deployments[key].routing
        own = routing.model_info.get("cooldown_time") if routing.cooldown_time is None else routing.cooldown_time
        return self._cooldown_time if own is None else float(own)

    def _leave_alone(self, key: str, error: LASError, seconds: float) -> None:
        """Leave a deployment alone until it wants to be asked again, if there are others to ask."""
        cooldowns = self._router.cooldown_cache
        has_others = sum(_alias(other) == _alias(key) for other in self._deployments) > 1
        if has_others and not cooldowns.get_active_cooldowns([key], None):
            cooldowns.add_deployment_to_cooldown(key, error, error.status_code, seconds)

    def left(self, target: Target) -> None:
        """Note that nobody waits for *target* any more."""
        for learner in self._learners:
            learner.log_failure_event(_told(target), None, None, None)


def _alias(key: str) -> str:
    return key.rpartition("#")[0]


def _orders(entry: AliasSettings) -> list[int]:
    """The orders of an alias's deployments, those without one last; none if no deployment has one."""
    given = [deployment.routing.order for deployment in entry.deployments]
    named = sorted({order for order in given if order is not None})
    return [*named, named[-1] + 1] if named and None in given else named


def _entry(key: str, deployment: DeploymentSettings, orders: list[int], settings: LASSettings) -> Json:
    """A deployment as the Router's ``model_list`` has it, without keys and addresses, which it needs not know."""
    order = deployment.routing.order
    given = {
        **_prices(deployment, settings),
        **{name: getattr(deployment, name) for name in ("weight", "rpm", "tpm")},
        "order": orders[-1] if order is None and orders else order,
    }
    return {
        "model_name": _alias(key),
        "litellm_params": {
            "model": _litellm_model(deployment.model, settings),
            **{name: value for name, value in given.items() if value is not None},
        },
        "model_info": {**deployment.routing.model_info, "id": key},
    }


def _litellm_model(model: str, settings: LASSettings) -> str:
    if "*" in model:
        return model
    provider, name = split_name(model, settings)
    # It knows nothing of the models in this process.
    return f"custom_openai/{name}" if provider == "local" else f"{provider}/{name}"


def _prices(deployment: DeploymentSettings, settings: LASSettings) -> Json:
    """What cost-based routing goes by; it finds the prices of few models by itself."""
    names = ("input_cost_per_token", "output_cost_per_token")
    provider, name = split_name(deployment.model, settings) if "*" not in deployment.model else ("", "")
    if provider == "local":
        return dict.fromkeys(names, _NEXT_TO_NOTHING)
    row = price_row(provider, name, own_prices(deployment.routing.model_info, deployment.options))
    return {key: row[key] for key in names if row.get(key)}


def _told(target: Target) -> Json:
    """What the Router is told of a call, in the words of litellm's callbacks."""
    return {
        "litellm_params": {
            "metadata": {"model_group": target.alias, "deployment": target.litellm_model},
            "model_info": {"id": target.deployment},
        }
    }
