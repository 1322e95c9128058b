// Whom an image runs its commands as, in numbers, by its own account files.
#pragma once

#include "accounts/users.h"
#include "base/result.h"
#include "image/store.h"

namespace cleanroom::image {

// Errors as accounts::ResolveUser has them. Reads two small files of the image, or none.
Result<accounts::User> ImageUser(const ImageRecord& image);

}  // namespace cleanroom::image
