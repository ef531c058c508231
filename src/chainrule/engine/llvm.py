"""The one door to LLVM: llvmlite, loaded and made ready when a program is first compiled."""

from functools import cache
from types import ModuleType


@cache
def llvm() -> ModuleType:
    """llvmlite's binding, with all targets ready."""
    import llvmlite.binding

    llvmlite.binding.initialize_all_targets()
    llvmlite.binding.initialize_all_asmprinters()
    binding: ModuleType = llvmlite.binding
    return binding


@cache
def versions() -> str:
    """Of llvmlite and of LLVM, on which machine code depends."""
    import llvmlite

    return f"llvmlite {llvmlite.__version__}, LLVM {'.'.join(map(str, llvm().llvm_version_info))}"
