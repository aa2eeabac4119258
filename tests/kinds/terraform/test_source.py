"""Which files belong to a module, and what it says about itself."""

from __future__ import annotations

from pathlib import Path

from drystone.kinds.terraform import source


def names(root: Path, project: Path) -> set[str]:
    return set(source.read(root, project).files)


def test_the_folder_belongs_without_terraforms_own_files_and_states(project, write_module):
    root = write_module(
        {
            "main.tf": "", "sub/inner.tf": "", "x.auto.tfvars": "", "run.sh": "", ".terraform.lock.hcl": "", ".terraform/providers/x": "",
            "terraform.tfstate": "", "terraform.tfstate.backup": "", "terraform.tfstate.d/a/terraform.tfstate": "", "old.tfstate": "",
            ".git/config": "", "errored.tfstate": "",
        }
    )  # fmt: skip
    assert names(root, project) == {"app/main.tf", "app/sub/inner.tf", "app/x.auto.tfvars", "app/run.sh", "app/.terraform.lock.hcl"}


def test_what_the_text_leads_to_belongs_and_nothing_else(project, write_module):
    for name in ("lib", "inner", "files", "other"):
        write_module({"main.tf": 'module "x" { source = "../inner" }\n' if name == "lib" else "", f"{name}.txt": ""}, name)
    (project / "single.txt").write_text("")
    root = write_module(
        """
module "lib" { source = "../lib" }
locals {
  one  = file("${path.module}/../single.txt")
  some = file("${path.module}/../files/${var.which}.txt")
}
"""
    )
    found = {name.split("/")[0] for name in names(root, project)}
    assert found == {"app", "lib", "inner", "files", "single.txt"}


def test_a_folder_above_the_module_is_not_copied(project, write_module):
    (project / "big").write_text("")
    root = write_module('locals { up = "${path.module}/.." }\n')
    assert names(root, project) == {"app/main.tf"}


def test_modules_that_lead_to_one_another_are_taken_once(project, write_module):
    write_module('module "a" { source = "../app" }\n', "lib")
    root = write_module('module "lib" { source = "../lib" }\n')
    assert names(root, project) == {"app/main.tf", "lib/main.tf"}


def test_a_module_outside_of_the_project_has_a_base_of_its_own(tmp_path, project, write_module):
    root = write_module('module "lib" { source = "../lib" }\n', "../elsewhere/app")
    write_module("", "../elsewhere/lib")
    found = source.read(root, project)
    assert (found.base, found.place) == (tmp_path / "elsewhere", "app")


def test_the_digest_knows_names_contents_and_modes(project, app):
    digests = {source.read(app, project).digest()}
    (app / "main.tf").write_text((app / "main.tf").read_text() + "\n")
    digests.add(source.read(app, project).digest())
    (app / "main.tf").chmod(0o755)
    digests.add(source.read(app, project).digest())
    (app / "main.tf").rename(app / "other.tf")
    digests.add(source.read(app, project).digest())
    assert len(digests) == 4


def test_a_backend_in_a_file_that_is_not_understood_is_seen_all_the_same(project, write_module):
    root = write_module('terraform {\n  backend "gcs" {\n  }\n}\nsomething new = {\n')
    facts = source.facts(source.read(root, project))
    assert (facts.backend_type, facts.variables) == ("gcs", None)


def test_a_cloud_block_is_a_backend(project, write_module):
    root = write_module('terraform {\n  cloud {\n    organization = "x"\n  }\n}\n')
    assert source.facts(source.read(root, project)).backend_type == "cloud"


def test_only_the_root_modules_variables_count(project, write_module):
    root = write_module({"main.tf": 'variable "a" {}\n', "sub/main.tf": 'variable "b" {}\n'})
    assert set(source.facts(source.read(root, project)).variables) == {"a"}


def test_other_tools_folders_are_linked_not_copied(project, write_module):
    root = write_module({"main.tf": "", ".venv/lib/big.py": "", "node_modules/x.js": "", ".drystone/key": ""}, ".")
    found = source.read(root, project)
    assert set(found.files) == {"main.tf", ".venv", "node_modules"}
    assert found.place == "."
