#include "rpc/service.h"

#include <cstdlib>
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

void Router::SetMaxMessage(std::string_view path, size_t bytes) {
  const auto found = procedures_.find(path);
  if (found == procedures_.end()) std::abort();  // a misspelt name would leave it as it was
  found->second.max_message_bytes = bytes;
}

void Router::Add(std::string path, Shape shape, UntypedHandler handler) {
  procedures_.insert_or_assign(std::move(path), Procedure{shape, std::move(handler), 0});
}

}  // namespace cleanroom::rpc
