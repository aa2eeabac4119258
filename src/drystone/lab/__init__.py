"""A laboratory without a cloud: a Terraform provider whose networks, subnets and VMs live on this machine.

Terraform starts `launcher`, which serves `provider` by `server`; its resources call `lab.Lab`, which keeps the records
of `registry` and lets one of two drivers act: `namespaces` (root) or `loopback` (any user). The rest of drystone knows
the lab only as one Terraform provider among others, found by entry point (`terraform`), and by `manage` for a person.
"""
