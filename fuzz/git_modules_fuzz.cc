// .gitmodules, as git lists it: what is taken are places in the work tree, each once.
#include <set>
#include <string>
#include <string_view>

#include "repository/modules_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cleanroom::repository;
  const auto modules = ParseModules({reinterpret_cast<const char*>(data), size});
  if (!modules) return 0;
  std::set<std::string> names, paths;
  for (const Module& module : *modules) {
    for (const std::string& word : {module.name, module.path}) {
      const std::string inside = "/" + word + "/";
      if (word.empty() || word.front() == '-' || inside.find("/../") != std::string::npos ||
          inside.find("//") != std::string::npos || inside.find("/.git/") != std::string::npos)
        __builtin_trap();
    }
    if (!names.insert(module.name).second || !paths.insert(module.path).second) __builtin_trap();
  }
  return 0;
}
