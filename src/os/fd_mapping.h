// What a child process gets of its parent's descriptors.
#pragma once

namespace cleanroom::os {

// `child` is the descriptor's number in the child, `parent` an open descriptor of this process.
struct FdMapping {
  int child;
  int parent;
};

}  // namespace cleanroom::os
