// gzip (RFC 1952), with zlib.
#pragma once

#include "rpc/compression.h"

namespace cleanroom::rpc {

// Packs for speed (zlib's level 1: about 100 MB/s), because it works on the caller's event loop.
const Compression& Gzip();

}  // namespace cleanroom::rpc
