terraform {
  required_version = ">= 1.5"
  required_providers {
    lab = {
      source  = "lab.drystone.invalid/drystone/lab"
      version = "~> 1.0"
    }
  }
}

resource "lab_subnet" "this" {
  network = var.network
  cidr    = var.cidr
}
