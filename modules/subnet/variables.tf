variable "network" {
  description = "The id of the network that the subnet is a part of."
  type        = string
}

variable "cidr" {
  description = "The subnet's IPv4 range, such as 10.77.1.0/24: a part of the network's. The host has its first address."
  type        = string
}
