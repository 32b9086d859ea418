"""Deployment: builds of trained networks for other runtimes."""
