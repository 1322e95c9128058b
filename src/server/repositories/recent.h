// Recent: what was found lately, by a key of several words; the oldest goes first.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cleanroom::server {

template <typename T>
class Recent {
 public:
  using Key = std::vector<std::string>;
  explicit Recent(size_t most) : most_(most) {}

  // Null when it is not known. Valid until the next Put.
  const T* Find(const Key& key) const {
    const auto found = values_.find(key);
    return found == values_.end() ? nullptr : &found->second;
  }
  void Put(const Key& key, T value) {
    if (!values_.contains(key)) order_.push_back(key);
    values_.insert_or_assign(key, std::move(value));
    if (order_.size() <= most_) return;
    values_.erase(order_.front());
    order_.pop_front();
  }

 private:
  size_t most_;
  std::map<Key, T> values_;
  std::deque<Key> order_;
};

}  // namespace cleanroom::server
