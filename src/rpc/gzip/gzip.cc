#include "rpc/gzip/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <limits>

namespace cleanroom::rpc {
namespace {

constexpr int kLevel = 1;
constexpr int kWindowBits = 15 + 16;  // 16: with gzip's head and tail
constexpr int kMemLevel = 8;          // zlib's default
constexpr size_t kFirstOutput = 4096;

Bytef* Bytes(std::string_view text) {
  return reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
}

class Deflater {
 public:
  Deflater() {
    ok_ = deflateInit2(&stream_, kLevel, Z_DEFLATED, kWindowBits, kMemLevel, 0) == Z_OK;
  }
  ~Deflater() {
    if (ok_) deflateEnd(&stream_);
  }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // Nothing when there is no memory for it.
  std::string Pack(std::string_view bytes) {
    if (!ok_) return {};
    std::string out(deflateBound(&stream_, bytes.size()), '\0');
    stream_.next_in = Bytes(bytes);
    stream_.avail_in = static_cast<uInt>(bytes.size());
    stream_.next_out = Bytes(out);
    stream_.avail_out = static_cast<uInt>(out.size());
    if (deflate(&stream_, Z_FINISH) != Z_STREAM_END) return {};
    out.resize(stream_.total_out);
    return out;
  }

 private:
  z_stream stream_ = {};
  bool ok_ = false;
};

class Inflater {
 public:
  Inflater() { ok_ = inflateInit2(&stream_, kWindowBits) == Z_OK; }
  ~Inflater() {
    if (ok_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  Result<std::string> Unpack(std::string_view bytes, size_t max_bytes) {
    if (!ok_) return Err(ErrorCode::kResourceExhausted, "no memory to unpack a message");
    stream_.next_in = Bytes(bytes);
    stream_.avail_in = static_cast<uInt>(bytes.size());
    std::string out(std::min(max_bytes + 1, std::max(kFirstOutput, bytes.size() * 4)), '\0');
    while (true) {
      stream_.next_out = Bytes(out) + stream_.total_out;
      stream_.avail_out = static_cast<uInt>(out.size() - stream_.total_out);
      const int outcome = inflate(&stream_, Z_NO_FLUSH);
      if (stream_.total_out > max_bytes) {
        return Err(Error(ErrorCode::kResourceExhausted,
                         fmt::format("a message that unpacks to more than the limit of {} bytes",
                                     max_bytes))
                       .Remedy("Send less at once"));
      }
      if (outcome == Z_STREAM_END) break;
      const bool full = stream_.avail_out == 0;
      if ((outcome != Z_OK && outcome != Z_BUF_ERROR) || !full) {
        return Err(ErrorCode::kInvalidArgument, "a message that is damaged or no gzip");
      }
      out.resize(std::min(max_bytes + 1, out.size() * 2));
    }
    if (stream_.avail_in != 0)
      return Err(ErrorCode::kInvalidArgument, "a message with bytes behind the end of its gzip");
    out.resize(stream_.total_out);
    return out;
  }

 private:
  z_stream stream_ = {};
  bool ok_ = false;
};

class GzipCompression final : public Compression {
 public:
  std::string_view name() const override { return "gzip"; }

  std::string Pack(std::string_view bytes) const override { return Deflater().Pack(bytes); }

  Result<std::string> Unpack(std::string_view bytes, size_t max_bytes) const override {
    // zlib counts in 32 bits; no message is as long.
    constexpr size_t kMost = std::numeric_limits<uInt>::max() / 8;
    if (bytes.size() > kMost || max_bytes > kMost)
      return Err(ErrorCode::kResourceExhausted, "a message too large to unpack");
    return Inflater().Unpack(bytes, max_bytes);
  }
};

}  // namespace

const Compression& Gzip() {
  static const GzipCompression gzip;
  return gzip;
}

}  // namespace cleanroom::rpc
