#include "archive/decompress.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <vector>

namespace cleanroom::archive {
namespace {

constexpr size_t kInputBytes = 256 << 10;
constexpr int kMaxZstdWindowLog = 27;  // 128 MiB: what a hostile frame may make us allocate

// Input with a look-ahead, so that the magic number can be read first.
class Input {
 public:
  explicit Input(ByteSource& source) : source_(source), buffer_(kInputBytes) {}

  // Makes more bytes available; false at the end of the source.
  Result<bool> Fill() {
    if (begin_ == end_) begin_ = end_ = 0;
    CR_TRY_ASSIGN(const size_t n, source_.Read(std::span(buffer_).subspan(end_)));
    end_ += n;
    total_ += n;
    return n > 0;
  }
  std::span<const uint8_t> available() const {
    return std::span(buffer_).subspan(begin_, end_ - begin_);
  }
  void Consume(size_t count) { begin_ += count; }
  // Straight from the source; only while nothing is available.
  Result<size_t> ReadThrough(std::span<uint8_t> buffer) {
    CR_TRY_ASSIGN(const size_t n, source_.Read(buffer));
    total_ += n;
    return n;
  }
  uint64_t SkipThrough(uint64_t count) {
    const uint64_t n = source_.Skip(count);
    total_ += n;
    return n;
  }
  uint64_t total() const { return total_; }

 private:
  ByteSource& source_;
  std::vector<uint8_t> buffer_;
  size_t begin_ = 0, end_ = 0;
  uint64_t total_ = 0;
};

class Unpacker : public ByteSource {
 public:
  Unpacker(Input input, const Limits& limits) : input_(std::move(input)), limits_(limits) {}

  Result<size_t> Read(std::span<uint8_t> buffer) final {
    if (buffer.empty()) return size_t{0};
    CR_TRY_ASSIGN(const size_t n, Produce(buffer));
    unpacked_ += n;
    if (unpacked_ > limits_.max_unpacked_bytes) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("it unpacks to more than {} bytes", limits_.max_unpacked_bytes));
    }
    if (unpacked_ > limits_.expansion_floor && unpacked_ / limits_.max_expansion > input_.total()) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("it unpacks to more than {} times its size", limits_.max_expansion));
    }
    return n;
  }

 protected:
  virtual Result<size_t> Produce(std::span<uint8_t> buffer) = 0;
  Input input_;

 private:
  Limits limits_;
  uint64_t unpacked_ = 0;
};

class Plain : public Unpacker {
 public:
  using Unpacker::Unpacker;
  uint64_t Skip(uint64_t count) override {
    return input_.available().empty() ? input_.SkipThrough(count) : 0;
  }

 protected:
  Result<size_t> Produce(std::span<uint8_t> buffer) override {
    if (input_.available().empty()) return input_.ReadThrough(buffer);
    const auto head = input_.available().first(std::min(buffer.size(), input_.available().size()));
    std::ranges::copy(head, buffer.begin());
    input_.Consume(head.size());
    return head.size();
  }
};

class Gzip : public Unpacker {
 public:
  using Unpacker::Unpacker;
  ~Gzip() override { inflateEnd(&stream_); }
  Result<void> Start() {
    if (inflateInit2(&stream_, 15 + 16) != Z_OK)
      return Err(ErrorCode::kInternal, "zlib did not start");
    return {};
  }

 protected:
  Result<size_t> Produce(std::span<uint8_t> buffer) override {
    stream_.next_out = buffer.data();
    stream_.avail_out = static_cast<uInt>(std::min<size_t>(buffer.size(), 1u << 30));
    const size_t room = stream_.avail_out;
    while (stream_.avail_out == room && !done_) {
      if (input_.available().empty()) {
        CR_TRY_ASSIGN(const bool more, input_.Fill());
        if (!more && !between_members_)
          return Err(ErrorCode::kDataCorrupt, "the gzip stream is cut off");
        if (!more) {
          done_ = true;
          break;
        }
      }
      if (between_members_) {
        // gzip files may be joined; zero padding after the last member is customary, other bytes
        // are not.
        if (input_.available()[0] == 0) {
          input_.Consume(1);
          continue;
        }
        inflateReset(&stream_);
        between_members_ = false;
      }
      const auto in = input_.available();
      stream_.next_in = const_cast<Bytef*>(in.data());
      stream_.avail_in = static_cast<uInt>(in.size());
      const int status = inflate(&stream_, Z_NO_FLUSH);
      input_.Consume(in.size() - stream_.avail_in);
      if (status == Z_STREAM_END) {
        between_members_ = true;
      } else if (status != Z_OK && status != Z_BUF_ERROR) {
        return Err(ErrorCode::kDataCorrupt,
                   fmt::format("the gzip stream is damaged: {}",
                               stream_.msg != nullptr ? stream_.msg : "bad data"));
      }
    }
    return room - stream_.avail_out;
  }

 private:
  z_stream stream_ = {};
  bool between_members_ = false;
  bool done_ = false;
};

class Zstd : public Unpacker {
 public:
  using Unpacker::Unpacker;
  ~Zstd() override { ZSTD_freeDCtx(context_); }
  Result<void> Start() {
    if (context_ == nullptr ||
        ZSTD_isError(ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kMaxZstdWindowLog))) {
      return Err(ErrorCode::kInternal, "zstd did not start");
    }
    return {};
  }

 protected:
  Result<size_t> Produce(std::span<uint8_t> buffer) override {
    ZSTD_outBuffer out = {buffer.data(), buffer.size(), 0};
    while (out.pos == 0) {
      if (input_.available().empty()) {
        CR_TRY_ASSIGN(const bool more, input_.Fill());
        if (!more && in_frame_ && !flushing_)
          return Err(ErrorCode::kDataCorrupt, "the zstd stream is cut off");
        if (!more && !flushing_) return size_t{0};
      }
      ZSTD_inBuffer in = {input_.available().data(), input_.available().size(), 0};
      const size_t hint = ZSTD_decompressStream(context_, &out, &in);
      if (ZSTD_isError(hint)) {
        return Err(ErrorCode::kDataCorrupt,
                   fmt::format("the zstd stream is damaged: {}", ZSTD_getErrorName(hint)));
      }
      input_.Consume(in.pos);
      in_frame_ = hint != 0;
      flushing_ =
          in_frame_ && out.pos == out.size;  // more output may wait inside without more input
    }
    return out.pos;
  }

 private:
  ZSTD_DCtx* context_ = ZSTD_createDCtx();
  bool in_frame_ = false;
  bool flushing_ = false;
};

template <typename T>
Result<std::unique_ptr<ByteSource>> Make(Input input, const Limits& limits) {
  auto out = std::make_unique<T>(std::move(input), limits);
  CR_TRY(out->Start());
  return std::unique_ptr<ByteSource>(std::move(out));
}

}  // namespace

Compression DetectCompression(std::span<const uint8_t> head) {
  constexpr uint8_t kGzip[] = {0x1f, 0x8b};
  constexpr uint8_t kZstd[] = {0x28, 0xb5, 0x2f, 0xfd};
  const auto starts = [head](std::span<const uint8_t> magic) {
    return head.size() >= magic.size() && std::ranges::equal(head.first(magic.size()), magic);
  };
  if (starts(kGzip)) return Compression::kGzip;
  if (starts(kZstd)) return Compression::kZstd;
  return Compression::kNone;
}

Result<std::unique_ptr<ByteSource>> Decompress(ByteSource& source, const Limits& limits) {
  Input input(source);
  while (input.available().size() < 4) {
    CR_TRY_ASSIGN(const bool more, input.Fill());
    if (!more) break;
  }
  switch (DetectCompression(input.available())) {
    case Compression::kGzip:
      return Make<Gzip>(std::move(input), limits);
    case Compression::kZstd:
      return Make<Zstd>(std::move(input), limits);
    case Compression::kNone:
      break;
  }
  return std::unique_ptr<ByteSource>(std::make_unique<Plain>(std::move(input), limits));
}

}  // namespace cleanroom::archive
