terraform {
  required_version = ">= 1.5"
  required_providers {
    lab = {
      source  = "lab.drystone.invalid/drystone/lab"
      version = "~> 1.0"
    }
  }
}

resource "lab_network" "this" {
  name = var.name
  cidr = var.cidr
}
