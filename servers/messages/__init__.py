"""Anthropic's messages: requests, answers, events and errors, translated to and from chat completions."""
