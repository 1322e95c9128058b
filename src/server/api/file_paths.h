// Paths in a sandbox and times of its files, between the public API, whose strings are UTF-8, and
// the guest, whose names are bytes.
#pragma once

#include <google/protobuf/timestamp.pb.h>

#include <string>

#include "base/result.h"
#include "cleanroom/internal/v1/files.pb.h"
#include "cleanroom/v1/files.pb.h"

namespace cleanroom::server {

// What a request names: raw where it is set. invalid_argument unless it is absolute, of at most
// 4096 bytes, without NUL and without a name of more than 255.
Result<std::string> AbsolutePath(const std::string& path, const std::string& raw);

// What is to be archived, relative to a base.
Result<cleanroom::internal::v1::ArchivePathsRequest> ToArchive(
    const v1::ArchiveSandboxPathsRequest& request);

v1::SandboxPathInfo ToPublic(const cleanroom::internal::v1::PathInfo& info);
// What a guest says that is no time is none.
Result<cleanroom::internal::v1::FileTime> FromPublic(const google::protobuf::Timestamp& time);

}  // namespace cleanroom::server
