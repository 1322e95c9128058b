// LaunchPlan: what a request to create a sandbox amounts to, after every check that needs no work.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"
#include "cleanroom/v1/sandbox.pb.h"
#include "server/settings.h"
#include "store/records.h"

namespace cleanroom::server {

struct LaunchPlan {
  store::SandboxRecord record;  // with its id; PROVISIONING
  std::chrono::seconds boot_limit{30};
  // To the record's checkout, as they came; applied before anything runs.
  std::shared_ptr<const ::cleanroom::v1::RepositoryChangeset> local_changes = nullptr;
};

// What a request and its policy ask for, in numbers. 0: no wish.
struct Wishes {
  int64_t vcpus = 0;
  int64_t memory_mib = 0;
  int64_t disk_mib = 0;
};

// The larger of each and the host's default; invalid_argument for negative or absurd wishes.
Result<Wishes> ResolveSize(const Wishes& request, const Wishes& policy, const Settings& settings);

// The first of request and host default that is set, at most an hour; invalid_argument when
// negative or longer.
Result<std::chrono::seconds> ResolveBootLimit(int64_t request_seconds, const Settings& settings);

// What other steps of a machine than its boot may take: `limit`, and more in proportion where the
// host's boots are given more time than by default, for such a host is slow in all of them.
std::chrono::milliseconds OnThisHost(std::chrono::milliseconds limit, const Settings& settings);

}  // namespace cleanroom::server
