"""As much of Terraform's language as must be understood before Terraform runs."""

from __future__ import annotations

import pytest

from drystone.kinds.terraform import hcl

TEXT = '''
# terraform { backend "commented" {} }
/* backend "also" {} */
terraform {
  required_version = ">= 1.4" // why
  backend "s3" {
    bucket = "state"
    path   = "a/${"not a } brace"}/b"
  }
}
variable "plain" {}
variable "typed" {
  type = object({
    a = optional(string, "}")   # a brace in a comment }
    b = list(number)
  })
  ephemeral = true
}
locals {
  text = <<-EOT
    backend "in text" { ${"x"}
  EOT
  other = 1
}
resource "terraform_data" "a" { input = "$${not} %{ if true }yes%{ endif }" }
output "one_line" { value = { a = [1, 2], b = "x" } }
'''


@pytest.fixture(scope="module")
def root() -> hcl.Block:
    return hcl.parse(TEXT)


def test_blocks_are_found_below_their_parents(root):
    (backend,) = root.find("terraform", "backend")
    assert (backend.labels, backend.attributes["bucket"]) == (("s3",), '"state"')


def test_comments_and_texts_hold_no_blocks(root):
    assert [block.labels for block in root.find("terraform", "backend")] == [("s3",)]


def test_expressions_over_many_lines_are_one_attribute(root):
    assert {block.labels[0]: block.attributes.get("ephemeral") for block in root.find("variable")} == {"plain": None, "typed": "true"}


def test_a_heredoc_ends_at_its_mark(root):
    assert next(root.find("locals")).attributes["other"] == "1"


def test_a_block_keeps_its_text(root):
    assert next(root.find("output")).text == 'output "one_line" { value = { a = [1, 2], b = "x" } }'


@pytest.mark.parametrize("text", ['a "b" {', "= 1", 'x = "open', "x = <<EOT\nnever", "}", 'a { "b', "a ="[:1]])
def test_what_is_not_understood_is_an_error_of_its_own(text):
    with pytest.raises(hcl.HclSyntaxError):
        hcl.parse(text)


def test_json_configuration_is_read_alike():
    root = hcl.parse_json('{"terraform": [{"backend": {"local": {"path": "x"}}}], "variable": {"a": {}, "b": {"ephemeral": true}}}')
    (backend,) = root.find("terraform", "backend")
    assert (backend.labels, hcl.literal(backend.attributes["path"])) == (("local",), "x")
    assert [(block.labels, block.attributes) for block in root.find("variable")] == [(("a",), {}), (("b",), {"ephemeral": "true"})]


@pytest.mark.parametrize(("text", "value"), [('"a\\"b"', 'a"b'), ('"a${b}"', None), ("var.x", None), ("5", None), ('"', None)])
def test_only_plain_texts_are_literals(text, value):
    assert hcl.literal(text) == value


def test_a_name_that_no_variable_can_have_is_refused():
    with pytest.raises(ValueError, match='"a = 1'):
        hcl.assignments({"a = 1\nb": 2})
