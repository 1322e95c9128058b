// JsonCodec: messages in protobuf's JSON form. Apart from the other codec because it needs the full
// runtime.
#pragma once

#include "rpc/codec.h"

namespace cleanroom::rpc {

// Fields that a request has and its message lacks are ignored, as newer clients need. Messages of
// the lite runtime fail with kUnimplemented.
const Codec& JsonCodec();

}  // namespace cleanroom::rpc
