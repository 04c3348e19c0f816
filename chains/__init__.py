"""Chains and agents composed of the models in :mod:`las_langchain`."""
