terraform {
  required_version = ">= 1.5"
  required_providers {
    lab = {
      source  = "lab.drystone.invalid/drystone/lab"
      version = "~> 1.0"
    }
  }
}

resource "lab_vm" "this" {
  subnet  = var.subnet
  name    = var.name
  address = var.address
}
