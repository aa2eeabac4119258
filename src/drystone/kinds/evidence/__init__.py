"""The evidence kind: what a host knows, collected in order of volatility under a chain of custody, before anybody mends it.

config (what may be written) -> task (one thread a host) -> collector (commands, files) -> custody (artefacts, manifest, signature)
"""

from drystone.kinds.evidence.task import Evidence

__all__ = ["Evidence"]
