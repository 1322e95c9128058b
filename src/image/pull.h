// Pulling images from registries into the store. Blocking; meant for a thread that may wait.
#pragma once

#include <string>

#include "base/image_ref.h"
#include "base/result.h"
#include "image/control.h"
#include "image/store.h"
#include "registry/registry.h"

namespace cleanroom::image {

// The digest that `ref` names now: asks the registry for a tag ("latest" when there is none); for a
// pinned reference it checks that the registry has it. Errors are Registry's.
Result<std::string> Resolve(const registry::RegistryOptions& options, const ImageRef& ref,
                            const Control& control);

// Makes the image that `ref` names present and answers its record. The digest of a pinned
// reference, whether of an index or of a manifest, is the image's identity; it is then not asked
// for again when it is present. A tag is always resolved anew. Layers are downloaded side by side
// and unpacked as they come; a pull that fails or is cancelled leaves nothing. Errors: Registry's,
// and failed_precondition (not an image for this platform), data_corrupt (naming the layer),
// resource_exhausted (a limit, or no room).
Result<ImageRecord> Pull(const ImageStore& store, const registry::RegistryOptions& options,
                         const ImageRef& ref, const Control& control);

}  // namespace cleanroom::image
