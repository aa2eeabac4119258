output "id" {
  description = "The VM's id."
  value       = lab_vm.this.id
}

output "name" {
  description = "The VM's host name."
  value       = lab_vm.this.name
}

output "address" {
  description = "The address that it answers on."
  value       = lab_vm.this.address
}

output "port" {
  description = "The port of its sshd."
  value       = lab_vm.this.port
}

output "user" {
  description = "Who logs in."
  value       = lab_vm.this.user
}

output "host_key" {
  description = "Its host key, \"type base64\", for clients that pin it."
  value       = lab_vm.this.host_key
}

output "key_file" {
  description = "The path of the private key that opens it. The key itself is not in the state."
  value       = lab_vm.this.key_file
}
