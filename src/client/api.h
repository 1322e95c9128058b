// Api: the services of a daemon, as coroutines over one channel. The CLI uses it directly; programs
// that want plain blocking calls use client.h.
#pragma once

#include "cleanroom/v1/execution.rpc.h"
#include "cleanroom/v1/image.rpc.h"
#include "cleanroom/v1/sandbox.rpc.h"
#include "cleanroom/v1/system.rpc.h"
#include "rpc/client.h"

namespace cleanroom::client {

// Belongs to the channel's thread; the channel must outlive it and every call under way.
struct Api {
  explicit Api(rpc::Channel& channel)
      : sandboxes(channel), executions(channel), images(channel), system(channel) {}

  v1::SandboxStub sandboxes;
  v1::ExecutionStub executions;
  v1::ImageStub images;
  v1::SystemStub system;
};

}  // namespace cleanroom::client
