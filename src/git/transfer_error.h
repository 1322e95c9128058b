// What it means that git could not talk to a remote: git says it in words alone, so this reads them
// (with LC_ALL=C), in one place.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "git/remote_url.h"

namespace cleanroom::git {

enum class TransferTrouble : uint8_t {
  kOther,
  kNotFound,        // no such repository there
  kAuthentication,  // none, or not enough
  kUnreachable,     // no such host, no connection
  kCertificate,     // or an ssh host key that is not known
  kCut,             // the connection ended amid the transfer: worth another try
  kSlow,
  kTooBig,  // beyond what a mirror may take
  kDiskFull,
  kNoSuchObject,  // the remote does not give out that id
  kRedirect,      // to another URL
  kNotAllowed,    // what it leads to is refused
};

TransferTrouble ClassifyTransfer(std::string_view stderr_text);

// The error for it, with what to do.
Error TransferError(TransferTrouble trouble, const RemoteUrl& url, std::string_view stderr_text);

}  // namespace cleanroom::git
