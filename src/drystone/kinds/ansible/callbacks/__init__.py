"""Plugins that ansible-playbook itself loads, under its own interpreter."""
