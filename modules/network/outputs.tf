output "id" {
  description = "The network's id, for the subnet module."
  value       = lab_network.this.id
}

output "name" {
  description = "The network's name."
  value       = lab_network.this.name
}

output "cidr" {
  description = "The network's range."
  value       = lab_network.this.cidr
}

output "bridge" {
  description = "The host's interface of the network; empty in loopback mode."
  value       = lab_network.this.bridge
}
