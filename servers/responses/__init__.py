"""OpenAI's Responses API, by translation to and from chat completions.

``requests`` makes a chat request of a request, ``answers`` a response of a chat's answer, and ``streams`` events of its
chunks; all three are pure. ``store`` keeps responses for those that build on them, and ``responding`` puts it together.
"""
