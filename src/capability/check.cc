#include "capability/check.h"

namespace cleanroom::capability {

std::string_view ToString(Check::Status status) {
  switch (status) {
    case Check::Status::kOk:
      return "ok";
    case Check::Status::kWarn:
      return "warn";
    case Check::Status::kFail:
      return "fail";
  }
  return "fail";
}

}  // namespace cleanroom::capability
