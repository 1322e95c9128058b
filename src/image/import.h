// Importing images from files: a docker-archive, a tar of an OCI image layout, or a plain root file
// system; any of them plain, gzip or zstd. Which it is is found out from its content.
#pragma once

#include "base/image_ref.h"
#include "base/result.h"
#include "image/control.h"
#include "image/store.h"

namespace cleanroom::image {

// Reads the tar from `fd` (a file, from its beginning, or a pipe, to its end; the caller keeps and
// closes it) and makes it the image `ref`; answers its record.
//
// The image's digest is: of an OCI layout, that of the manifest or index in it; of a
// docker-archive, that of the schema 2 manifest it stands for (what `skopeo inspect` says); of a
// root file system, that of a manifest made for it. When `ref` has a digest, the first two must
// match it (invalid_argument), and a root file system, which has no digest of its own, takes it as
// its identity; an image that is present under that digest is not read again. Of an archive with
// several images the one that `ref`'s tag names is taken. Errors besides: data_corrupt,
// resource_exhausted, failed_precondition (wrong platform), canceled.
Result<ImageRecord> Import(const ImageStore& store, const ImageRef& ref, int fd,
                           const Limits& limits, const Control& control);

}  // namespace cleanroom::image
