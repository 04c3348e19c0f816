"""The models that there are: asked of the providers, else as litellm's table lists them."""

from las_langchain.listing.lister import Listing, ModelsLister, list_models, list_models_sync
from las_langchain.listing.models import ListedModel, Source

__all__ = ["ListedModel", "Listing", "ModelsLister", "Source", "list_models", "list_models_sync"]
