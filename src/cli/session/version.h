// The version of this build (the project's, from CMake).
#pragma once

namespace cleanroom::cli {

inline constexpr const char* kVersion = CLEANROOM_VERSION;

}  // namespace cleanroom::cli
