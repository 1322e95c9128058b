// What a guest asks and a resolver answers: nothing passes that no rule allows, and no address is
// told or remembered that the guest may not have.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <variant>

#include "doors/dns/dns_judge.h"
#include "policy/load.h"

namespace {

using namespace cleanroom;
using namespace cleanroom::doors;

const Rules& TheRules() {
  static const Rules rules = [] {
    const std::string yaml =
        "version: 1\nsandbox:\n  image: { ref: \"example.com/a@sha256:" + std::string(64, 'a') +
        "\" }\n  network:\n    allow: [api.example.com, \"*.wild.example.com\"]\n";
    auto parsed = policy::Parse(yaml, "fuzz");
    if (!parsed) abort();
    auto compiled = policy::CompiledPolicy::Compile(*std::move(parsed));
    if (!compiled) abort();
    return Rules(*std::move(compiled));
  }();
  return rules;
}

struct NoSink : DecisionSink {
  void Record(const Decision& decision) override {
    if (decision.message.empty()) abort();
  }
  void Transferred(Service, uint64_t, uint64_t) override {}
  void Opened(Service, int) override {}
};

}  // namespace

// A byte that says how long the query is, the query, the resolver's answer.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const wire::Bytes query(data + 1, std::min<size_t>(data[0], size - 1));
  const wire::Bytes upstream(data + 1 + query.size(), size - 1 - query.size());
  const auto now = DnsJudge::Clock::time_point(std::chrono::hours(1));
  NameMemory memory;
  NoSink sink;
  DnsJudge judge({.gateway = {net::IpAddress::V4({10, 0, 2, 1})}}, TheRules(), memory, sink);
  const DnsJudge::Step step = judge.Begin(query, policy::Protocol::kUdp, now);
  if (const auto* reply = std::get_if<DnsJudge::Message>(&step)) {
    if (reply->size() < 12 || reply->size() > wire::kUdpPayload) abort();
  }
  const auto* question = std::get_if<DnsJudge::Question>(&step);
  if (question == nullptr) return 0;
  const Verdict verdict = TheRules().CheckName(question->name, std::nullopt, std::nullopt);
  if (!verdict.allowed()) abort();
  const auto answer =
      wire::ParseAnswer(upstream, question->query.id, question->query.name, question->query.type);
  const auto reply = judge.Finish(*question, answer, now);
  if (reply.size() < 12 || reply.size() > wire::kUdpPayload) abort();
  const auto told =
      wire::ParseAnswer(reply, question->query.id, question->query.name, question->query.type);
  if (!told) abort();
  for (const wire::DnsRecord& record : told->answers) {
    if (record.address && !TheRules().MayAnswer(*record.address)) abort();
    if (record.address && memory.Lookup(*record.address, now).empty()) abort();
  }
  return 0;
}
