// Incoming: what a sandbox says has changed in its work tree, read and judged before anything is
// compared with, let alone written to, the user's.
//
// All of it is hostile: the tar, its names, links and sizes, and the list of what was deleted.
// Nothing here touches a file system. Blocks; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "archive/byte_source.h"
#include "base/result.h"

namespace cleanroom::workspace {

struct IncomingLimits {
  size_t max_entries = 250'000;           // of the tar and of the list together
  uint64_t max_file_bytes = 4ull << 30;   // of one file, holes included
  uint64_t max_total_bytes = 8ull << 30;  // of all files, holes included
  uint64_t max_name_bytes = 64ull << 20;  // of all paths and targets
};

struct IncomingFile {
  std::string path;
  std::string mode;    // kModeFile, kModeProgram or kModeLink of index_entries.h
  std::string id;      // of the contents, as git names them; of a link: of its target
  std::string sha256;  // of the same
  std::string target;  // of a link; it stays in the work tree
  uint64_t size = 0;
  int64_t mtime = 0;  // seconds since 1970
};

// What is passed over, whatever the user's work tree is like.
struct RefusedPath {
  std::string path;  // as the sandbox spelled it
  std::string reason;
};

// Every path in `files` and `deleted` may be in a work tree (WhyNotInTree), none is there twice, and
// no file of `files` is also the folder of another.
struct Incoming {
  std::vector<IncomingFile> files;   // by path
  std::vector<std::string> deleted;  // by path
  std::vector<RefusedPath> refused;  // in the order of arrival
};

// `tar`: uncompressed. `object_format`: the repository's. data_corrupt when the tar is damaged or
// contradicts itself, resource_exhausted above a limit.
Result<Incoming> ReadIncoming(archive::ByteSource& tar, std::vector<std::string> deleted,
                              std::string_view object_format, const IncomingLimits& limits = {});

// The path that an entry of the tar has in Incoming: without the "./" that tar puts before it.
std::string_view PlainEntryPath(std::string_view path);

}  // namespace cleanroom::workspace
