"""Providers that speak OpenAI's own format, without litellm on the way."""
