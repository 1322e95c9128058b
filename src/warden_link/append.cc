#include "warden_link/append.h"

#include <unistd.h>

#include <cerrno>

namespace cleanroom::warden_link {

Result<void> AppendWhole(int fd, int64_t size, std::span<const iovec> parts,
                         std::string_view what) {
  ssize_t total = 0;
  for (const iovec& part : parts) total += static_cast<ssize_t>(part.iov_len);
  ssize_t n = 0;
  do {
    n = pwritev(fd, parts.data(), static_cast<int>(parts.size()), size);
  } while (n < 0 && errno == EINTR);
  if (n == total) return {};
  const int reason = n < 0 ? errno : ENOSPC;
  if (ftruncate(fd, size) != 0) return ErrErrno(ErrorCode::kInternal, "cutting a torn record");
  return Err(Error::FromErrno(ErrorCode::kResourceExhausted, reason, what));
}

}  // namespace cleanroom::warden_link
