variable "subnet" {
  description = "The id of the subnet that the VM is in."
  type        = string
}

variable "name" {
  description = "The VM's host name, once in a network: lower-case letters, digits and dashes."
  type        = string
}

variable "address" {
  description = "The VM's address; null takes the next free one of the subnet."
  type        = string
  default     = null
}
