// Replaces the functions through which torch asks the CUDA driver, so that autograd accepts fake CUDA tensors.
#include <ATen/detail/CUDAHooksInterface.h>

namespace {

struct EmulatedHooks : at::CUDAHooksInterface {
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return false; }
};

void swap_tables() {
  static EmulatedHooks* emulated = new EmulatedHooks();
  auto& hooks = const_cast<at::CUDAHooksInterface&>(at::detail::getCUDAHooks());
  std::swap(*reinterpret_cast<void**>(&hooks), *reinterpret_cast<void**>(emulated));
}

}  // namespace

extern "C" void swap_hooks() { swap_tables(); }
