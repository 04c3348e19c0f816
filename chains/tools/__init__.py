"""The tools of the agent, one a module; :mod:`chains.tools.catalog` knows them by name."""
