#include "image/image_user.h"

#include <string>

#include "ext4/read_file.h"

namespace cleanroom::image {
namespace {

// Empty for one that is not there, or is no file.
std::string ReadOrNothing(const ImageRecord& image, const char* path) {
  return ext4::ReadFile(image.rootfs, path, accounts::kMaxAccountFileBytes).value_or("");
}

}  // namespace

Result<accounts::User> ImageUser(const ImageRecord& image) {
  const std::string& spec = image.config.user;
  // What most images have needs no look at them.
  if (spec.empty() || spec == "0" || spec == "0:0") return accounts::User{};
  return accounts::ResolveUser(spec, ReadOrNothing(image, "/etc/passwd"),
                               ReadOrNothing(image, "/etc/group"));
}

}  // namespace cleanroom::image
