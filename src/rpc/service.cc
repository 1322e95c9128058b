#include "rpc/service.h"

#include <utility>

namespace cleanroom::rpc {

const Procedure* Router::Find(std::string_view path) const {
  const auto found = procedures_.find(path);
  return found == procedures_.end() ? nullptr : &found->second;
}

const Page* Router::FindPage(std::string_view path) const {
  const auto found = pages_.find(path);
  return found == pages_.end() ? nullptr : &found->second;
}

void Router::Add(std::string path, Shape shape, UntypedHandler handler) {
  procedures_.insert_or_assign(std::move(path), Procedure{shape, std::move(handler)});
}

}  // namespace cleanroom::rpc
