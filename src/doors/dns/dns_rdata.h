// The data of DNS records of the types that pass: checked for their form, and written anew with
// every name in full, so that a record can stand in another message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace cleanroom::doors::wire {

enum class RdataVerdict : uint8_t {
  kKeep,
  kLeaveOut,   // of a type that does not pass, or nothing useful is left of it
  kMalformed,  // not of the form of its type
};

// Appends to `out` the data of a record of `type` that takes the `length` bytes at `at` of
// `message`.
//
// Of SVCB and HTTPS (RFC 9460), the parameters that carry addresses (ipv4hint, ipv6hint) and keys
// for Encrypted ClientHello (ech) are left out: an address must come from an answer that was
// checked, and a name that is hidden cannot be. A record that cannot be used without them (they are
// mandatory in it) is left out itself.
RdataVerdict RewriteRdata(std::span<const uint8_t> message, size_t at, size_t length, uint16_t type,
                          std::vector<uint8_t>& out);

}  // namespace cleanroom::doors::wire
