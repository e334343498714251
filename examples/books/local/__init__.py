"""Runs the books example on a local engine.

What the engine lacks is done here, from the deployed templates: the leg from stream through pipe to bus, and the HTTP
API's routes.
"""
