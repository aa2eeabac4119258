variable "name" {
  description = "The network's name, once in a lab: lower-case letters, digits and dashes."
  type        = string
}

variable "cidr" {
  description = "The IPv4 range that subnets are cut from, such as 10.77.0.0/16. It overlaps with no other lab network."
  type        = string
}
