#include "cli/commands/policy_source.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "client/compiled_policy.h"

namespace cleanroom::cli {
namespace {

namespace fs = std::filesystem;

Result<PolicySource> ImageOnly(const RunFlags& flags, DefaultImageSource* default_image,
                               std::string_view otherwise) {
  std::string text = flags.image;
  if (text.empty()) {
    CR_TRY_ASSIGN(text, default_image());
  }
  if (text.empty()) {
    return Err(Error(ErrorCode::kInvalidArgument,
                     fmt::format("no image: {}, or set default_image in the config", otherwise))
                   .Remedy("Name one, for example with: --image docker.io/library/debian:12"));
  }
  PolicySource source;
  auto image = ImageRef::Parse(text);
  if (!image)
    return Err(std::move(image).error().Context(flags.image.empty() ? "default_image" : "--image"));
  source.image = std::move(*image);
  source.image_text = std::move(text);
  source.network_default = NetworkDefaultOf(flags);
  return source;
}

// For what no file says.
Result<policy::CompiledPolicy> WithRemote(const policy::CompiledPolicy& compiled,
                                          const std::string& host, uint16_t port) {
  CR_TRY_ASSIGN(policy::Target target, policy::ParseHostTarget(host));
  policy::Policy spec = compiled.spec();
  policy::AllowRule rule{.target = std::move(target), .ports = {port}, .reason = {}};
  spec.repository.emplace().allow.push_back(std::move(rule));
  return policy::CompiledPolicy::Compile(std::move(spec));
}

}  // namespace

policy::NetworkDefault NetworkDefaultOf(const RunFlags& flags) {
  return flags.dangerously_allow_all ? policy::NetworkDefault::kAllow
                                     : policy::NetworkDefault::kDeny;
}

Result<void> TakeImage(const RunFlags& flags, PolicySource& source) {
  if (flags.image.empty()) return {};
  auto image = ImageRef::Parse(flags.image);
  if (!image) return Err(std::move(image).error().Context("--image"));
  source.image = std::move(*image);
  source.image_text = flags.image;
  return {};
}

std::optional<std::string> FindRepository(const std::string& directory) {
  std::error_code error;
  for (fs::path at = fs::weakly_canonical(directory, error); !error && !at.empty();
       at = at.parent_path()) {
    if (fs::exists(at / ".git", error)) return at.string();
    if (at == at.parent_path()) break;
  }
  return std::nullopt;
}

Result<policy::PolicyFile> FindPolicyFile(const std::string& directory) {
  auto here = policy::FindPolicyFile(directory);
  if (here || here.error().code() != ErrorCode::kNotFound) return here;
  const auto top = FindRepository(directory);
  std::error_code error;
  if (!top || fs::equivalent(*top, directory, error)) return here;
  auto above = policy::FindPolicyFile(*top);
  if (above || above.error().code() != ErrorCode::kNotFound) return above;
  return Err(Error(ErrorCode::kNotFound, fmt::format("{}; nor at the top of the repository, {}",
                                                     here.error().message(), *top))
                 .About(here.error().subject().kind, here.error().subject().name));
}

Result<PolicySource> LocatePolicy(const RunFlags& flags, DefaultImageSource* default_image) {
  PolicySource source;
  if (!flags.policy_file.empty()) {
    source.path = flags.policy_file;
  } else {
    auto file = FindPolicyFile(".");
    if (file) {
      source.path = std::move(file->path);
      source.warning = std::move(file->warning);
    } else if (file.error().code() != ErrorCode::kNotFound) {
      return Err(std::move(file).error());
    } else {
      return ImageOnly(flags, default_image,
                       "there is no cleanroom.yaml here; write one, pass --image REF");
    }
  }
  CR_TRY_ASSIGN(source.compiled, policy::LoadAndCompile(source.path));
  source.network_default = NetworkDefaultOf(flags);
  CR_TRY(TakeImage(flags, source));
  return source;
}

Result<PolicySource> PolicyOfImage(const RunFlags& flags, DefaultImageSource* default_image) {
  return ImageOnly(flags, default_image, "pass --image REF");
}

Awaitable<Result<v1::Policy>> FinishPolicy(client::Api& api, PolicySource source) {
  if (source.image && !source.image->IsPinned()) {
    v1::ResolveImageRequest request;
    request.set_ref(source.image_text);
    auto resolved = co_await api.images.ResolveImage(std::move(request));
    if (!resolved) co_return Err(std::move(resolved).error());
    CR_CO_TRY_ASSIGN(source.image, ImageRef::ParsePinned(resolved->ref()));
  }
  if (!source.compiled) {
    CR_CO_TRY_ASSIGN(source.compiled, policy::PolicyForImage(source.image->ToString()));
    if (!source.fetched_from.host.empty()) {
      CR_CO_TRY_ASSIGN(source.compiled, WithRemote(*source.compiled, source.fetched_from.host,
                                                   source.fetched_from.port));
    }
  } else if (source.image) {
    CR_CO_TRY_ASSIGN(source.compiled, source.compiled->WithImage(*source.image));
  }
  if (source.network_default == policy::NetworkDefault::kAllow) {
    policy::Policy open = source.compiled->spec();
    open.network.default_action = source.network_default;
    CR_CO_TRY_ASSIGN(source.compiled, policy::CompiledPolicy::Compile(std::move(open)));
  }
  co_return client::ToProto(*source.compiled);
}

}  // namespace cleanroom::cli
