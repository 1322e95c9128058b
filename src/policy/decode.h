// Decoding a document tree into a Policy; shared by the file's reader and that of canonical JSON.
// Internal.
#pragma once

#include <string>
#include <vector>

#include "document/document.h"
#include "document/fields.h"
#include "policy/policy.h"

namespace cleanroom::policy {

// What the tree was read from. Canonical JSON carries the hash and may say `default: allow`.
enum class Dialect { kFile, kCanonical };

// Complete only when `report` stays empty.
Policy DecodePolicy(const document::Node& root, Dialect dialect, document::Report& report);

// decode_network.cc
Network DecodeNetwork(const document::Node& node, const std::string& path, Dialect dialect,
                      document::Report& report);
std::vector<AllowRule> DecodeAllow(const document::Node& node, const std::string& path,
                                   document::Report& report);
std::vector<net::HostPattern> DecodeHosts(const document::Node& node, const std::string& path,
                                          document::Report& report);

// decode_blocks.cc
std::vector<Block> DecodeBlocks(const document::Node& node, const std::string& path,
                                document::Report& report);
// Reports outputs of all blocks that are the repository, contain it, or overlap one another.
void CheckOutputs(const Policy& policy, const document::Node* dependencies,
                  const document::Node* services, document::Report& report);
// "" when `path` cannot be normalised; `why` then says so.
std::string NormalizePath(std::string_view path, std::string& why);
// Whether `name` is [A-Za-z0-9][A-Za-z0-9_.-]* of at most 64 characters.
bool IsBlockName(std::string_view name);

}  // namespace cleanroom::policy
