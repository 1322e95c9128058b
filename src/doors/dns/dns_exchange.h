// One question to one DNS server.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/async.h"
#include "doors/dns/dns_message.h"
#include "net/resolv_conf.h"

namespace cleanroom::doors {

// Asks over UDP from a fresh socket, connected, so that nothing but the server's address and port
// is heard; what does not carry the question's id is passed over. Asks over TCP, again for at most
// `limit`, when the answer was cut or does not repeat the question as it was spelled.
// deadline_exceeded when the server was silent, unavailable when it could not be reached,
// data_corrupt when it answered nonsense.
Awaitable<Result<wire::DnsAnswer>> AskServer(net::DnsServer server, std::string name, uint16_t type,
                                             std::chrono::milliseconds limit);

}  // namespace cleanroom::doors
