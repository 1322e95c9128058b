// ImageStorage: images on this host, which go after their spare machines and their templates.
#pragma once

#include <string>
#include <vector>

#include "image/store.h"
#include "server/images/images.h"
#include "server/sandboxes/sandboxes.h"
#include "server/storage/storage.h"
#include "server/warm/spares.h"
#include "server/warm/templates.h"

namespace cleanroom::server {

class ImageStorage : public StorageOwner {
 public:
  // All of it outlives this.
  ImageStorage(Images& images, Templates& templates, Spares& spares, const Sandboxes& sandboxes,
               BlockingPool& pool)
      : images_(images),
        templates_(templates),
        spares_(spares),
        sandboxes_(sandboxes),
        pool_(pool) {}

  // The last use of an image is that of its sandboxes, also of those on record, and its templates.
  Awaitable<Result<std::vector<StoredItem>>> List() override;
  Awaitable<Result<void>> Remove(StoredItem item) override;

  // Removes an image with its spare machines and templates: an image that is pulled again need not
  // be the same block for block, and templates depend on that. not_found; failed_precondition while
  // a sandbox uses it.
  Awaitable<Result<image::ImageRecord>> RemoveImage(std::string ref);

 private:
  Images& images_;
  Templates& templates_;
  Spares& spares_;
  const Sandboxes& sandboxes_;
  BlockingPool& pool_;
};

}  // namespace cleanroom::server
