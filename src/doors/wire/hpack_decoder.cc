#include "doors/wire/hpack_decoder.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cstdint>
#include <new>

namespace cleanroom::doors::wire {

void HpackDecoder::Free::operator()(nghttp2_hd_inflater* inflater) const {
  nghttp2_hd_inflate_del(inflater);
}

HpackDecoder::HpackDecoder() {
  nghttp2_hd_inflater* inflater = nullptr;
  if (nghttp2_hd_inflate_new(&inflater) != 0) throw std::bad_alloc();
  inflater_.reset(inflater);
}

void HpackDecoder::SetTableSize(size_t size) {
  (void)nghttp2_hd_inflate_change_table_size(inflater_.get(), std::min(size, kMaxTable));
}

bool HpackDecoder::Decode(std::string_view block, Http2Request& request) {
  while (true) {
    nghttp2_nv field;
    int flags = 0;
    const auto* data = reinterpret_cast<const uint8_t*>(block.data());
    const ssize_t taken =
        nghttp2_hd_inflate_hd2(inflater_.get(), &field, &flags, data, block.size(), 1);
    if (taken < 0) return false;
    block.remove_prefix(static_cast<size_t>(taken));
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      const std::string_view name(reinterpret_cast<const char*>(field.name), field.namelen);
      const std::string_view value(reinterpret_cast<const char*>(field.value), field.valuelen);
      if (!request.Add(name, value)) return false;
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
      return nghttp2_hd_inflate_end_headers(inflater_.get()) == 0 && block.empty();
    }
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) == 0 && block.empty()) return false;
  }
}

}  // namespace cleanroom::doors::wire
