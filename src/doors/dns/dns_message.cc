#include "doors/dns/dns_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "doors/dns/dns_name.h"
#include "doors/dns/dns_rdata.h"

namespace cleanroom::doors::wire {
namespace {

constexpr size_t kHeader = 12;
constexpr uint16_t kClassIn = 1;
constexpr uint16_t kOpt = 41;
constexpr uint16_t kQuestionPointer = 0xc000 | kHeader;
constexpr size_t kOptFixed = 11;
constexpr uint16_t kExtendedErrorOption = 15;
constexpr size_t kMaxErrorText = 200;

// Bits of the header's flags (RFC 1035 4.1.1).
constexpr uint16_t kResponseFlag = 0x8000;
constexpr uint16_t kTruncatedFlag = 0x0200;
constexpr uint16_t kRecursionDesired = 0x0100;
constexpr uint16_t kRecursionAvailable = 0x0080;
constexpr uint16_t kRcodeMask = 0x000f;
uint8_t Opcode(uint16_t flags) { return flags >> 11 & 0xf; }

struct Header {
  uint16_t id = 0, flags = 0, questions = 0, answers = 0, authority = 0, additional = 0;
};

bool ReadHeader(DnsCursor& cursor, Header& out) {
  return cursor.U16(out.id) && cursor.U16(out.flags) && cursor.U16(out.questions) &&
         cursor.U16(out.answers) && cursor.U16(out.authority) && cursor.U16(out.additional);
}

void PutHeader(std::vector<uint8_t>& out, const Header& header) {
  for (const uint16_t value : {header.id, header.flags, header.questions, header.answers,
                               header.authority, header.additional}) {
    PutU16(out, value);
  }
}

// A record as it stands in a message; its data takes `length` bytes at `at`.
struct RawRecord {
  std::vector<uint8_t> name;
  uint16_t type = 0, klass = 0, length = 0;
  uint32_t ttl = 0;
  size_t at = 0;
};

bool ReadRecord(DnsCursor& cursor, DnsCursor::Pointers pointers, RawRecord& out) {
  if (!cursor.Name(pointers, out.name) || !cursor.U16(out.type) || !cursor.U16(out.klass) ||
      !cursor.U32(out.ttl) || !cursor.U16(out.length)) {
    return false;
  }
  out.at = cursor.at();
  return cursor.Skip(out.length);
}

// The options of an OPT record follow each other without a gap (RFC 6891 6.1.2).
bool OptionsAreWhole(Bytes data) {
  DnsCursor cursor(data);
  while (cursor.left() > 0) {
    uint16_t code = 0;
    uint16_t length = 0;
    if (!cursor.U16(code) || !cursor.U16(length) || !cursor.Skip(length)) return false;
  }
  return true;
}

void PutOpt(std::vector<uint8_t>& out, uint8_t high_rcode, Bytes options) {
  out.push_back(0);
  PutU16(out, kOpt);
  PutU16(out, kUdpPayload);
  PutU32(out, static_cast<uint32_t>(high_rcode) << 24);  // version 0, no flags
  PutU16(out, static_cast<uint16_t>(options.size()));
  out.insert(out.end(), options.begin(), options.end());
}

// The first `limit` bytes of the text, less a character that would be cut.
std::string_view CutUtf8(std::string_view text, size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<uint8_t>(text[limit]) & 0xc0) == 0x80) --limit;
  return text.substr(0, limit);
}

Rcode KnownRcode(uint16_t flags, uint8_t high) {
  const auto low = static_cast<uint8_t>(flags & kRcodeMask);
  return high == 0 && low <= static_cast<uint8_t>(Rcode::kRefused) ? static_cast<Rcode>(low)
                                                                   : Rcode::kServFail;
}

// The records of one section that pass, with their names also in wire form.
struct Parsed {
  std::vector<uint8_t> name;
  std::vector<uint8_t> target;  // of CNAME
  DnsRecord record;
};

Result<void> Corrupt(std::string_view what, size_t at) {
  return Err(ErrorCode::kDataCorrupt,
             fmt::format("DNS answer: {} at byte {}; another resolver may do better", what, at));
}

Result<void> ReadSection(Bytes message, DnsCursor& cursor, size_t count, std::vector<Parsed>& out) {
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = cursor.at();
    RawRecord raw;
    if (!ReadRecord(cursor, DnsCursor::Pointers::kAllowed, raw)) {
      return Corrupt("a record that is cut or has a bad name", begin);
    }
    if (raw.type == kOpt) return Corrupt("an OPT record out of place", begin);
    if (raw.klass != kClassIn) continue;
    Parsed parsed;
    const RdataVerdict verdict =
        RewriteRdata(message, raw.at, raw.length, raw.type, parsed.record.data);
    if (verdict == RdataVerdict::kMalformed) {
      return Corrupt(fmt::format("{} data not of its form", DnsTypeName(raw.type)), raw.at);
    }
    if (verdict == RdataVerdict::kLeaveOut) continue;
    const auto& data = parsed.record.data;
    if (raw.type == dns_type::kA) {
      parsed.record.address = net::IpAddress::V4({data[0], data[1], data[2], data[3]});
    } else if (raw.type == dns_type::kAaaa) {
      std::array<uint8_t, 16> bytes{};
      std::ranges::copy(data, bytes.begin());
      parsed.record.address = net::IpAddress::V6(bytes);
    } else if (raw.type == dns_type::kCname) {
      parsed.target = data;
      parsed.record.target = NameToText(data);
    }
    parsed.record.name = NameToText(raw.name);
    parsed.record.type = raw.type;
    parsed.record.ttl = raw.ttl > 0x7fffffff ? 0 : raw.ttl;  // RFC 2181 8
    parsed.name = std::move(raw.name);
    out.push_back(std::move(parsed));
  }
  return {};
}

// Takes from `records` what answers the question: the CNAMEs from `name` on, then the records of
// the type. `name` becomes the last of the chain.
Result<void> FollowChain(std::vector<Parsed>& records, uint16_t type, std::vector<uint8_t>& name,
                         std::vector<DnsRecord>& out) {
  for (int links = 0;; ++links) {
    const Parsed* cname = nullptr;
    bool found = false;
    for (Parsed& parsed : records) {
      if (!SameName(parsed.name, name)) continue;
      if (parsed.record.type == type || type == dns_type::kAny) {
        out.push_back(parsed.record);
        found = true;
      } else if (parsed.record.type == dns_type::kCname && cname == nullptr) {
        cname = &parsed;
      }
    }
    if (found || cname == nullptr) return {};
    if (links == kMaxCnames) return Corrupt("more CNAMEs than may be followed, or a loop", 0);
    out.push_back(cname->record);
    name = cname->target;
  }
}

}  // namespace

std::expected<DnsQuery, BadQuery> ParseQuery(Bytes message) {
  constexpr uint16_t kMinPayload = 512;
  constexpr uint16_t kMaxPayload = 4096;
  BadQuery bad;
  auto refuse = [&bad](Rcode rcode, std::string_view problem) {
    bad.rcode = rcode;
    bad.problem = problem;
    return std::unexpected(bad);
  };
  DnsCursor cursor(message);
  Header header;
  if (!ReadHeader(cursor, header)) return refuse(Rcode::kFormErr, "no whole DNS header");
  bad.id = header.id;
  bad.opcode = Opcode(header.flags);
  if ((header.flags & kResponseFlag) != 0) {
    return refuse(Rcode::kFormErr, "a DNS response where a query belongs");
  }
  bad.answer = true;
  if (message.size() > kMaxDnsMessage) return refuse(Rcode::kFormErr, "a DNS message too long");
  if (bad.opcode != 0) return refuse(Rcode::kNotImp, "a DNS opcode other than QUERY");
  if (header.questions != 1) return refuse(Rcode::kFormErr, "not exactly one DNS question");
  if ((header.flags & (kTruncatedFlag | kRcodeMask)) != 0 || header.answers != 0 ||
      header.authority != 0) {
    return refuse(Rcode::kFormErr, "parts of an answer in a DNS query");
  }

  DnsQuery query;
  query.id = header.id;
  query.recursion_desired = (header.flags & kRecursionDesired) != 0;
  uint16_t klass = 0;
  if (!cursor.Name(DnsCursor::Pointers::kForbidden, query.question)) {
    return refuse(Rcode::kFormErr, "a bad name in a DNS question");
  }
  if (!IsPlainName(query.question)) {
    return refuse(Rcode::kFormErr, "a name that no host or service has in a DNS question");
  }
  query.name = NameToText(query.question);
  if (!cursor.U16(query.type) || !cursor.U16(klass)) {
    return refuse(Rcode::kFormErr, "a DNS question that is cut");
  }
  if (klass != kClassIn) return refuse(Rcode::kNotImp, "a DNS class other than IN");
  if (query.type == 0 || query.type == kOpt) {
    return refuse(Rcode::kFormErr, "a DNS question for a type that is none");
  }
  PutU16(query.question, query.type);
  PutU16(query.question, klass);

  if (header.additional > 1) return refuse(Rcode::kFormErr, "records beside a DNS question");
  if (header.additional == 1) {
    RawRecord opt;
    if (!ReadRecord(cursor, DnsCursor::Pointers::kForbidden, opt) || opt.type != kOpt ||
        opt.name.size() != 1 || !OptionsAreWhole(message.subspan(opt.at, opt.length))) {
      return refuse(Rcode::kFormErr, "beside a DNS question, a record that is no EDNS option");
    }
    if ((opt.ttl >> 16 & 0xff) != 0) return refuse(Rcode::kBadVers, "an unknown EDNS version");
    query.edns = true;
    query.udp_payload = std::clamp(opt.klass, kMinPayload, kMaxPayload);
  }
  if (cursor.left() != 0) return refuse(Rcode::kFormErr, "bytes after a DNS query");
  return query;
}

std::vector<uint8_t> WriteQuery(uint16_t id, std::string_view name, uint16_t type) {
  const auto wire = NameFromText(name);
  if (!wire) return {};
  std::vector<uint8_t> out;
  PutHeader(out, {.id = id, .flags = kRecursionDesired, .questions = 1, .additional = 1});
  out.insert(out.end(), wire->begin(), wire->end());
  PutU16(out, type);
  PutU16(out, kClassIn);
  PutOpt(out, 0, {});
  return out;
}

Result<DnsAnswer> ParseAnswer(Bytes message, uint16_t id, std::string_view name, uint16_t type) {
  const auto asked = NameFromText(name);
  if (!asked) return Err(ErrorCode::kInvalidArgument, "DNS question: no valid name");
  auto corrupt = [](std::string_view what, size_t at) {
    return Err(std::move(Corrupt(what, at)).error());
  };
  DnsCursor cursor(message);
  Header header;
  if (message.size() > kMaxDnsMessage || !ReadHeader(cursor, header)) {
    return corrupt("no whole header", 0);
  }
  if (header.id != id || (header.flags & kResponseFlag) == 0 || Opcode(header.flags) != 0) {
    return corrupt("no response to this query", 0);
  }
  std::vector<uint8_t> question;
  uint16_t asked_type = 0;
  uint16_t klass = 0;
  if (header.questions != 1 || !cursor.Name(DnsCursor::Pointers::kForbidden, question) ||
      !cursor.U16(asked_type) || !cursor.U16(klass) || question != *asked || asked_type != type ||
      klass != kClassIn) {
    return corrupt("another question", kHeader);
  }

  DnsAnswer answer;
  answer.rcode = KnownRcode(header.flags, 0);
  if ((header.flags & kTruncatedFlag) != 0) {  // the rest may be cut anywhere
    answer.truncated = true;
    return answer;
  }
  if (size_t{header.answers} + header.authority + header.additional > kMaxDnsRecords) {
    return corrupt("too many records", kHeader - 6);
  }
  std::vector<Parsed> answers;
  std::vector<Parsed> authority;
  CR_TRY(ReadSection(message, cursor, header.answers, answers));
  CR_TRY(ReadSection(message, cursor, header.authority, authority));
  bool opt_seen = false;
  for (int i = 0; i < header.additional; ++i) {
    const size_t begin = cursor.at();
    RawRecord raw;
    if (!ReadRecord(cursor, DnsCursor::Pointers::kAllowed, raw)) {
      return corrupt("a record that is cut or has a bad name", begin);
    }
    if (raw.type != kOpt) continue;
    if (std::exchange(opt_seen, true) || raw.name.size() != 1) {
      return corrupt("an OPT record too many", begin);
    }
    answer.rcode = KnownRcode(header.flags, static_cast<uint8_t>(raw.ttl >> 24));
  }
  if (cursor.left() != 0) return corrupt("more bytes than records", cursor.at());

  std::vector<uint8_t> last = *asked;
  CR_TRY(FollowChain(answers, type, last, answer.answers));
  const bool negative =
      answer.answers.empty() || (type != dns_type::kCname && type != dns_type::kAny &&
                                 answer.answers.back().type == dns_type::kCname);
  for (Parsed& parsed : authority) {
    if (!negative || parsed.record.type != dns_type::kSoa || !IsWithin(last, parsed.name)) continue;
    answer.authority.push_back(std::move(parsed.record));
    break;
  }
  return answer;
}

namespace {

// Appends the records; one that asks for the question's own name points to it. Records that have no
// valid name or too much data are left out.
uint16_t PutRecords(std::vector<uint8_t>& out, const std::vector<DnsRecord>& records,
                    Bytes question_name) {
  uint16_t count = 0;
  for (const DnsRecord& record : records) {
    const auto name = NameFromText(record.name);
    if (!name || record.data.size() > kMaxDnsMessage || out.size() > kMaxDnsMessage) continue;
    if (SameName(*name, question_name)) {
      PutU16(out, kQuestionPointer);
    } else {
      out.insert(out.end(), name->begin(), name->end());
    }
    PutU16(out, record.type);
    PutU16(out, kClassIn);
    PutU32(out, record.ttl);
    PutU16(out, static_cast<uint16_t>(record.data.size()));
    out.insert(out.end(), record.data.begin(), record.data.end());
    ++count;
  }
  return count;
}

}  // namespace

std::vector<uint8_t> WriteResponse(const DnsQuery& query, const DnsAnswer& answer,
                                   const std::optional<ExtendedError>& error, size_t limit) {
  Header header{
      .id = query.id, .questions = 1, .additional = query.edns ? uint16_t{1} : uint16_t{0}};
  const auto rcode = static_cast<uint8_t>(answer.rcode);
  header.flags = static_cast<uint16_t>(
      kResponseFlag | (query.recursion_desired ? kRecursionDesired : 0) | kRecursionAvailable |
      (answer.truncated ? kTruncatedFlag : 0) | (rcode & kRcodeMask));

  std::vector<uint8_t> options;
  if (error) {
    const std::string_view text = CutUtf8(error->text, kMaxErrorText);
    PutU16(options, kExtendedErrorOption);
    PutU16(options, static_cast<uint16_t>(2 + text.size()));
    PutU16(options, error->code);
    options.insert(options.end(), text.begin(), text.end());
  }
  const size_t tail = query.edns ? kOptFixed + options.size() : 0;

  std::vector<uint8_t> records;
  if (!answer.truncated) {
    const Bytes name = Bytes(query.question).first(query.question.size() - 4);
    header.answers = PutRecords(records, answer.answers, name);
    header.authority = PutRecords(records, answer.authority, name);
    if (kHeader + query.question.size() + records.size() + tail > limit) {
      records.clear();
      header.answers = header.authority = 0;
      header.flags |= kTruncatedFlag;
    }
  }
  std::vector<uint8_t> out;
  PutHeader(out, header);
  out.insert(out.end(), query.question.begin(), query.question.end());
  out.insert(out.end(), records.begin(), records.end());
  if (query.edns) PutOpt(out, rcode >> 4, options);
  return out;
}

std::vector<uint8_t> WriteBadQueryResponse(const BadQuery& bad) {
  const auto rcode = static_cast<uint8_t>(bad.rcode);
  const bool extended = rcode > kRcodeMask;
  std::vector<uint8_t> out;
  PutHeader(out, {.id = bad.id,
                  .flags = static_cast<uint16_t>(kResponseFlag | bad.opcode << 11 |
                                                 kRecursionAvailable | (rcode & kRcodeMask)),
                  .additional = extended ? uint16_t{1} : uint16_t{0}});
  if (extended) PutOpt(out, rcode >> 4, {});
  return out;
}

}  // namespace cleanroom::doors::wire
