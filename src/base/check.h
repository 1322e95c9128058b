// CR_CHECK: a rule of our own code that must hold, as "called once" or "never after Close". A breach is
// a bug: the process says where and what, and aborts. What a guest, a peer, a file or a user sends is
// never checked so; that is what Result is for.
#pragma once

#include <string_view>

namespace cleanroom {

// Writes "FILE:LINE: check failed: CONDITION: TEXT" to stderr and aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              std::string_view text);

}  // namespace cleanroom

// `text` says in words what rule was broken.
#define CR_CHECK(condition, text)                                                       \
  do {                                                                                  \
    if (!(condition)) ::cleanroom::CheckFailed(__FILE__, __LINE__, #condition, (text)); \
  } while (0)
