// What every long operation of this module takes: where to tell progress, and how to be stopped.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>

#include "archive/limits.h"
#include "base/result.h"
#include "registry/limits.h"

namespace cleanroom::image {

enum class Phase { kResolve, kDownload, kUnpack, kFinish };
std::string_view ToString(Phase phase);

struct Progress {
  Phase phase = Phase::kResolve;
  std::string layer_digest;  // empty when the step is about the whole image
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;  // 0 when not known
};

// Called from the operation's threads, one call at a time; it must be quick and must not call back.
using ProgressFn = std::function<void(const Progress&)>;

struct Control {
  ProgressFn progress;  // may be empty
  // When it is requested, the operation ends soon with kCanceled and leaves nothing.
  std::stop_token stop;

  void Tell(const Progress& value) const {
    if (progress) progress(value);
  }
  Result<void> Check() const {
    if (stop.stop_requested()) return Err(ErrorCode::kCanceled, "the operation was cancelled");
    return {};
  }
};

// Limits on what an image may ask of this machine. The defaults are far above real images.
struct Limits : registry::Limits, archive::Limits {
  // Blocks : unpacked, once more than expansion_floor came out. A block of 4 KiB for each file of
  // one byte makes 4; only sparse files made of crumbs reach more.
  uint64_t max_block_expansion = 8;
};

// The error of making the image `ref`: what it is about, where the cause has not said that, and
// what to do when the image is beyond the limits. A host that is full of data says so by an errno.
Error OfImage(Error error, const std::string& ref);

}  // namespace cleanroom::image
