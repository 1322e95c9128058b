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

Error OfImage(Error error, const std::string& ref) {
  const bool limit = error.code() == ErrorCode::kResourceExhausted && error.errno_value() == 0;
  error = std::move(error).About(SubjectKind::kImage, ref);
  if (!limit) return error;
  return std::move(error).Remedy("Use another image: what one may take is in docs/images.md");
}

}  // namespace cleanroom::image
