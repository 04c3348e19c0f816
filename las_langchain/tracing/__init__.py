"""Every call as an OpenTelemetry span, by the semantic conventions for generative AI.

``opening.py`` decides whether and where to; ``observer.py`` begins and ends the spans; ``attributes.py`` and
``contents.py`` say what is in them; ``delivery.py`` brings them to a collector. OpenTelemetry is an extra, and is
imported only where spans are wanted.
"""
