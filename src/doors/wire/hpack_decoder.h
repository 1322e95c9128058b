// HpackDecoder: the client's side of HPACK (RFC 7541) as its server sees it, by nghttp2.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "doors/wire/http2_request.h"

struct nghttp2_hd_inflater;

namespace cleanroom::doors::wire {

class HpackDecoder {
 public:
  // Of the table, whatever the server announces: a client that uses more cannot be followed.
  static constexpr size_t kMaxTable = 64 << 10;

  HpackDecoder();

  // What the server announced (SETTINGS_HEADER_TABLE_SIZE), once the client knows it; between
  // header blocks.
  void SetTableSize(size_t size);

  // Decodes one whole block into `request`. False when it is none, or larger than a request may be:
  // then nothing can be decoded any more.
  bool Decode(std::string_view block, Http2Request& request);

 private:
  struct Free {
    void operator()(nghttp2_hd_inflater* inflater) const;
  };
  std::unique_ptr<nghttp2_hd_inflater, Free> inflater_;
};

}  // namespace cleanroom::doors::wire
