// Times of the API as the clock's.
#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <chrono>

namespace cleanroom::cli {

inline std::chrono::system_clock::time_point FromProto(const google::protobuf::Timestamp& time) {
  return std::chrono::system_clock::time_point(
      std::chrono::duration_cast<std::chrono::system_clock::duration>(
          std::chrono::seconds(time.seconds()) + std::chrono::nanoseconds(time.nanos())));
}

}  // namespace cleanroom::cli
