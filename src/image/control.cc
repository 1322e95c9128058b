#include "image/control.h"

namespace cleanroom::image {

std::string_view ToString(Phase phase) {
  switch (phase) {
    case Phase::kResolve:
      return "resolve";
    case Phase::kDownload:
      return "download";
    case Phase::kUnpack:
      return "unpack";
    case Phase::kFinish:
      return "finish";
  }
  return "unknown";
}

}  // namespace cleanroom::image
