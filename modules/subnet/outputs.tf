output "id" {
  description = "The subnet's id, for the vm module."
  value       = lab_subnet.this.id
}

output "cidr" {
  description = "The subnet's range."
  value       = lab_subnet.this.cidr
}

output "gateway" {
  description = "The host's address in the subnet."
  value       = lab_subnet.this.gateway
}

output "network" {
  description = "The id of its network."
  value       = lab_subnet.this.network
}
