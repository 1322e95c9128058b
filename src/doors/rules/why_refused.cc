#include "doors/rules/why_refused.h"

#include <fmt/format.h>

#include "net/address_class.h"

namespace cleanroom::doors {

bool NoNameHelps(Code by_address) {
  return by_address == Code::kDeniedByRule || by_address == Code::kPrivateAddress ||
         by_address == Code::kUnsupported;
}

Verdict WhyRefused(const Rules& rules, NameMemory& memory, const Verdict& by_address,
                   const net::Endpoint& wanted, policy::Protocol protocol, const std::string& shown,
                   std::string& host) {
  if (NoNameHelps(by_address.code)) return by_address;
  const std::string address = wanted.address.ToString();
  std::string reason =
      fmt::format("{} was not the answer to an allowed name in this sandbox", address);
  if (!shown.empty()) {
    host = shown;
    Verdict verdict = rules.CheckName(shown, wanted.port, protocol);
    if (!verdict.allowed()) return verdict;
    reason = fmt::format("{} is allowed, but {} was not an answer to it in this sandbox", shown,
                         address);
  } else {
    const auto names = memory.Lookup(wanted.address, NameMemory::Clock::now());
    if (!names.empty()) {
      Verdict verdict = rules.CheckName(names.front().name, wanted.port, protocol);
      host = names.front().name;
      if (!verdict.allowed()) return verdict;
      reason = fmt::format("the answer that gave {} for {} is too old: resolve the name again",
                           address, host);
    } else if (by_address.code == Code::kPortNotAllowed) {
      return by_address;
    }
  }
  if (net::Classify(wanted.address) != net::AddressClass::kPublic) {
    return {Code::kPrivateAddress, 0,
            fmt::format("{} is not a public address, and no cidr rule names it on port {}", address,
                        wanted.port),
            SuggestAddress(wanted.address, wanted.port, protocol)};
  }
  return {Code::kAddressNotResolved, 0, std::move(reason),
          SuggestAddress(wanted.address, wanted.port, protocol)};
}

}  // namespace cleanroom::doors
