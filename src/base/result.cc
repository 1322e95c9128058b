#include "base/result.h"

#include <cerrno>

namespace cleanroom {

std::unexpected<Error> ErrErrno(ErrorCode code, std::string_view what) {
  return std::unexpected<Error>(Error::FromErrno(code, errno, what));
}

}  // namespace cleanroom
