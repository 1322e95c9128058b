// The guest agent's procedures, by name.
#pragma once

namespace cleanroom::guest_link {

inline constexpr char kConfigure[] = "/cleanroom.internal.v1.GuestService/Configure";
inline constexpr char kAdjustClock[] = "/cleanroom.internal.v1.GuestService/AdjustClock";
inline constexpr char kExec[] = "/cleanroom.internal.v1.GuestService/Exec";
inline constexpr char kControl[] = "/cleanroom.internal.v1.GuestService/Control";
inline constexpr char kPing[] = "/cleanroom.internal.v1.GuestService/Ping";
inline constexpr char kReadFile[] = "/cleanroom.internal.v1.GuestService/ReadFile";
inline constexpr char kShutdown[] = "/cleanroom.internal.v1.GuestService/Shutdown";

}  // namespace cleanroom::guest_link
