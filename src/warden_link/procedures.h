// The warden's procedures, by name.
#pragma once

namespace cleanroom::warden_link {

inline constexpr char kLaunch[] = "/cleanroom.internal.v1.WardenService/Launch";
inline constexpr char kPrepare[] = "/cleanroom.internal.v1.WardenService/Prepare";
inline constexpr char kMakeTemplate[] = "/cleanroom.internal.v1.WardenService/MakeTemplate";
inline constexpr char kWatchState[] = "/cleanroom.internal.v1.WardenService/WatchState";
inline constexpr char kStartExecution[] = "/cleanroom.internal.v1.WardenService/StartExecution";
inline constexpr char kAttachExecution[] = "/cleanroom.internal.v1.WardenService/AttachExecution";
inline constexpr char kSendInput[] = "/cleanroom.internal.v1.WardenService/SendInput";
inline constexpr char kReadFile[] = "/cleanroom.internal.v1.WardenService/ReadFile";
inline constexpr char kWatchNetwork[] = "/cleanroom.internal.v1.WardenService/WatchNetwork";
inline constexpr char kStop[] = "/cleanroom.internal.v1.WardenService/Stop";

}  // namespace cleanroom::warden_link
