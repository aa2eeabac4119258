"""The ansible kind: one playbook run, driven by ansible-runner in a supervised child.

config -> inventory, argv (pure: files and command line) -> task -> worker (child) -> ansible-runner -> ansible-playbook
                                                             ^                                              |
                          Outcome or error <- parse (pure) <-+------------- events, one a line <------------+
"""
