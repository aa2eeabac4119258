"""The Terraform provider: its configuration and the list of what it offers. `server` serves it.

One provider object answers all commands that share a daemon, from many threads.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from tf.schema import Attribute, Schema
from tf.types import String

from drystone.errors import DrystoneError, LabError
from drystone.lab.config import LabConfig, parse_mode, read_config
from drystone.lab.lab import Lab, open_lab
from drystone.lab.resources import RESOURCES, data_source
from drystone.lab.terraform import SOURCE

_ATTRIBUTES = [
    Attribute("root", String(), "The folder where the lab lives; default DRYSTONE_LAB_ROOT.", optional=True),
    Attribute("mode", String(), "auto, namespaces or loopback; default DRYSTONE_LAB_MODE, then auto.", optional=True),
]


class LabTerraformProvider:
    """In the shape that the framework `tf` asks for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._config: LabConfig | None = None
        self._lab: Lab | None = None

    def lab(self) -> Lab:
        """The lab. Its mode is chosen anew until the lab has begun, so that an emptied lab may change it."""
        with self._guard:
            if self._config is None:
                raise LabError("the lab provider is not configured yet", hint="give it no value known only after apply")
            if self._lab is None or self._lab.registry.mode() is None:
                self._lab = open_lab(self._config)
            return self._lab

    def full_name(self) -> str:
        return SOURCE

    def get_model_prefix(self) -> str:
        return "lab_"

    def get_provider_schema(self, diagnostics: Any) -> Schema:
        return Schema(attributes=_ATTRIBUTES, version=1)

    def validate_config(self, diagnostics: Any, config: dict[str, Any]) -> None:
        mode = config.get("mode")
        if not isinstance(mode, str):
            return
        try:
            parse_mode(mode)
        except DrystoneError as error:
            diagnostics.add_error(error.message, error.hint, path=["mode"])

    def configure_provider(self, diagnostics: Any, config: dict[str, Any]) -> None:
        if not all(value is None or isinstance(value, str) for value in config.values()):
            diagnostics.add_error("the lab's root and mode must be known when Terraform plans", "use plain values")
            return
        try:
            self._configure(read_config(os.environ, root=config.get("root"), mode=config.get("mode")))
        except DrystoneError as error:
            diagnostics.add_error(error.message, error.hint)

    def _configure(self, wanted: LabConfig) -> None:
        with self._guard:
            # The protocol does not tell which command a call belongs to, so a shared daemon serves one lab only.
            if self._config is not None and self._config != wanted:
                raise LabError(
                    f'this provider process already serves the lab in "{self._config.root}" (mode '
                    f'{self._config.mode or "auto"}), not "{wanted.root}" (mode {wanted.mode or "auto"})',
                    hint="set DRYSTONE_LAB_ROOT and DRYSTONE_LAB_MODE for the whole run instead of the provider block",
                )
            self._config = wanted

    def get_resources(self) -> list[type[Any]]:
        return list(RESOURCES)

    def get_data_sources(self) -> list[type[Any]]:
        return [data_source(resource) for resource in RESOURCES]

    def get_functions(self) -> list[type[Any]]:
        return []

    def new_resource(self, kind: type[Any]) -> Any:
        return kind(self)

    def new_data_source(self, kind: type[Any]) -> Any:
        return kind(self)

    def new_function(self, kind: type[Any]) -> Any:
        return kind(self)
