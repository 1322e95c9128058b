#include "image/layer.h"

#include <fmt/format.h>

#include <algorithm>

#include "archive/decompress.h"
#include "archive/read_ahead.h"
#include "archive/tar_reader.h"
#include "base/sha256/digest.h"

namespace cleanroom::image {
namespace {

constexpr uint64_t kProgressStep = 2 << 20;
constexpr size_t kTarBlock = 512;

// Tells progress and notices cancellation on the way of the compressed bytes.
class Watched : public archive::ByteSource {
 public:
  Watched(archive::ByteSource& input, const Control& control, const RootfsBuilder::Layer& layer)
      : input_(input), control_(control), layer_(layer) {}

  Result<size_t> Read(std::span<uint8_t> buffer) override {
    CR_TRY(control_.Check());
    CR_TRY_ASSIGN(const size_t n, input_.Read(buffer));
    Count(n, n == 0);
    return n;
  }

 private:
  void Count(uint64_t n, bool end) {
    done_ += n;
    if (done_ < told_ + kProgressStep && !end) return;
    told_ = done_;
    control_.Tell({Phase::kUnpack, layer_.name, done_, std::max(layer_.bytes, done_)});
  }
  archive::ByteSource& input_;
  const Control& control_;
  const RootfsBuilder::Layer& layer_;
  uint64_t done_ = 0, told_ = 0;
};

// Hashes the uncompressed bytes and remembers how they end.
class Hashed : public archive::ByteSource {
 public:
  Hashed(archive::ByteSource& input, uint64_t budget) : input_(input), budget_(budget) {}

  Result<size_t> Read(std::span<uint8_t> buffer) override {
    CR_TRY_ASSIGN(const size_t n, input_.Read(buffer));
    const auto data = buffer.first(n);
    hash_.Add(data);
    const auto tail = data.last(std::min(n, kTarBlock));
    const auto last =
        std::ranges::find_if(tail.rbegin(), tail.rend(), [](uint8_t byte) { return byte != 0; });
    const auto zeros = static_cast<uint64_t>(last - tail.rbegin());
    trailing_zeros_ = zeros == n ? trailing_zeros_ + n : zeros;
    total_ += n;
    if (total_ > budget_)
      return Err(ErrorCode::kResourceExhausted, "the image unpacks to more than is allowed");
    return n;
  }
  uint64_t trailing_zeros() const { return trailing_zeros_; }
  uint64_t total() const { return total_; }
  std::string Finish() { return FinishDigest(hash_); }

 private:
  archive::ByteSource& input_;
  uint64_t budget_;
  Sha256 hash_;
  uint64_t total_ = 0, trailing_zeros_ = 0;
};

}  // namespace

Result<RootfsBuilder> RootfsBuilder::Create(const std::filesystem::path& path,
                                            const Limits& limits) {
  CR_TRY_ASSIGN(ext4::Writer writer, ext4::Writer::Create(path));
  return RootfsBuilder(std::move(writer), limits);
}

Result<void> RootfsBuilder::CheckBlocks(uint64_t unpacked) const {
  const uint64_t taken = writer_.allocated_bytes();
  if (taken > 2 * limits_.max_unpacked_bytes ||
      taken > limits_.expansion_floor + limits_.max_block_expansion * unpacked) {
    return Err(ErrorCode::kResourceExhausted,
               fmt::format("the image's files take {} bytes of blocks for {} bytes of tar, more "
                           "than is allowed",
                           taken, unpacked));
  }
  return {};
}

Result<RootfsBuilder::Applied> RootfsBuilder::Apply(archive::ByteSource& blob, const Layer& layer,
                                                    const Control& control) {
  Result<Applied> out = ApplyUnnamed(blob, layer, control);
  if (!out) return Err(std::move(out).error().Context("layer " + layer.name));
  return out;
}

Result<RootfsBuilder::Applied> RootfsBuilder::ApplyUnnamed(archive::ByteSource& blob,
                                                           const Layer& layer,
                                                           const Control& control) {
  Watched watched(blob, control, layer);
  CR_TRY_ASSIGN(const std::unique_ptr<archive::ByteSource> plain,
                archive::Decompress(watched, limits_));
  archive::ReadAhead ahead(*plain);
  Hashed hashed(ahead, limits_.max_unpacked_bytes - unpacked_bytes_);
  CR_TRY_ASSIGN(archive::TarReader tar, archive::TarReader::Open(hashed, limits_));
  tree_.BeginLayer();
  archive::TarEntry entry;
  while (true) {
    CR_TRY_ASSIGN(const bool more, tar.Next(entry));
    if (!more) break;
    if (++entries_ > limits_.max_entries) {
      return Err(ErrorCode::kResourceExhausted,
                 fmt::format("the image has more than {} entries", limits_.max_entries));
    }
    CR_TRY_ASSIGN(const ext4::Tree::NodeId node, tree_.Apply(entry));
    CR_TRY(writer_.Release(tree_.TakeReleased()));
    if (entry.type != archive::EntryType::kFile || node == ext4::Tree::kRoot) continue;
    Result<void> read = tar.ReadData(
        [this, &entry, &hashed](uint64_t offset, std::span<const uint8_t> data) -> Result<void> {
          if (offset > entry.size || data.size() > entry.size - offset) {
            return Err(ErrorCode::kDataCorrupt, "the tar has more data than its header says");
          }
          CR_TRY(writer_.Write(offset, data));
          return CheckBlocks(unpacked_bytes_ + hashed.total());
        });
    if (!read) return Err(std::move(read).error().Context(entry.path.substr(0, 200)));
    CR_TRY_ASSIGN(tree_.node(node).extents, writer_.EndFile());
  }
  // What follows the end mark belongs to the digest, and damage there is damage.
  std::vector<uint8_t> rest(64 << 10);
  while (true) {
    CR_TRY_ASSIGN(const size_t n, hashed.Read(rest));
    if (n == 0) break;
  }
  unpacked_bytes_ += hashed.total();
  if (layer.need_end && hashed.trailing_zeros() < kTarBlock) {
    return Err(ErrorCode::kDataCorrupt, "the tar is cut off: it has no end mark");
  }
  Applied out{.diff_id = hashed.Finish(), .unpacked_bytes = hashed.total()};
  if (!layer.diff_id.empty() && out.diff_id != layer.diff_id) {
    return Err(ErrorCode::kDataCorrupt,
               fmt::format("its content has the digest {} and the image config says {}",
                           out.diff_id, layer.diff_id));
  }
  return out;
}

}  // namespace cleanroom::image
