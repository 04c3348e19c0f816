"""How others reach the models: an HTTP server and the ``las`` command."""
