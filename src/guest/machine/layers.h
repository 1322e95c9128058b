// Folders of the sandbox that are made of layers: read-only file systems, one above the other, with
// an overlay above them whose writable part lies on the sandbox's disk.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "guest/files/root.h"

namespace cleanroom::guest {

struct LayeredFolder {
  std::string target;                // an absolute path in the root, without symbolic links
  std::vector<std::string> devices;  // "/dev/vdc": ext4 file systems, the topmost first
};

// Mounts the layers and makes them the folder, which belongs to whom the topmost layer's root
// belongs to. `number` tells it from others of this machine.
Result<void> MountLayers(const Root& root, const LayeredFolder& folder, int number);

// Where what is written to the folder of that number lies, in the agent's view.
std::string UpperFolder(int number);

}  // namespace cleanroom::guest
