import sys
from pathlib import Path

import pytest

from kernels.packages import environment_name, kernel_packages
from runpermit.errors import ContainerConfigurationError


def test_the_packages_of_an_interpreter_are_listed_behind_its_version() -> None:
    version, *packages = kernel_packages(Path(sys.executable))
    assert version == "python {}.{}.{}".format(*sys.version_info[:3])
    assert packages == sorted(packages)
    assert any(package.startswith("ipykernel==") for package in packages)
    assert any(package.startswith("pyepics==") for package in packages)


def test_the_name_changes_with_any_package_and_only_then() -> None:
    name = environment_name(["python 3.11.7", "a==1", "b==2"])
    assert name.startswith("python 3.11.7, 2 packages, ")
    assert environment_name(["python 3.11.7", "a==1", "b==2"]) == name
    assert environment_name(["python 3.11.7", "a==1", "b==3"]) != name
    assert environment_name(["python 3.11.7", "a==1"]) != name


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false", "/bin/true", "/bin/echo"])
def test_what_is_no_python_is_refused_by_setting(program: str) -> None:
    with pytest.raises(ContainerConfigurationError, match=rf"kernels\.environment: {program} "):
        kernel_packages(Path(program))


def test_a_folder_is_no_interpreter(tmp_path: Path) -> None:
    with pytest.raises(ContainerConfigurationError, match=r"kernels\.environment"):
        kernel_packages(tmp_path)
