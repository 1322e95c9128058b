// Why an address that is not allowed by itself is refused, in the terms of whoever asked for it: by
// the name it showed, or the one it was answered for, where there is one.
#pragma once

#include <string>

#include "doors/rules/name_memory.h"
#include "doors/rules/rules.h"
#include "net/socket_address.h"

namespace cleanroom::doors {

// Whether a verdict on the address alone stands whatever name led to it.
bool NoNameHelps(Code by_address);

// `shown`: the name that the guest's protocol showed, in normal form; empty for none. `host` gets
// the name that the verdict is about, if any.
Verdict WhyRefused(const Rules& rules, NameMemory& memory, const Verdict& by_address,
                   const net::Endpoint& wanted, policy::Protocol protocol, const std::string& shown,
                   std::string& host);

}  // namespace cleanroom::doors
