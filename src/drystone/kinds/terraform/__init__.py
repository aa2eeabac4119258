"""The terraform kind: one root module, planned to a file, applied from it, and taken back.

config -> task -> workdir (what is applied) -> session (the commands) -> argv -> terraform -> parse -> failures | Outcome
               -> records (what was there before, so that undo knows whether to destroy or to restore)
"""
