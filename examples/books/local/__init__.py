"""Run the books example on a local engine.

The engine has no pipes and does not serve the HTTP API's routes. This package does both, following the deployed
templates.
"""
