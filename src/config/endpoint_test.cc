#include "config/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace cleanroom::config {
namespace {

TEST(Endpoint, Parses) {
  const struct {
    std::string_view text;
    std::string_view normal;
  } kCases[] = {
      {"unix:///run/x.sock", "unix:///run/x.sock"},
      {"/run/x.sock", "unix:///run/x.sock"},
      {"http://localhost:7777", "http://localhost:7777"},
      {"http://localhost/", "http://localhost:80"},
      {"https://Box.Example.com", "https://box.example.com:443"},
      {"http://127.0.0.1:0", "http://127.0.0.1:0"},
      {"http://[::1]:7777", "http://[::1]:7777"},
      {"https://[2001:DB8::1]", "https://[2001:db8::1]:443"},
  };
  for (const auto& c : kCases) {
    const auto endpoint = Endpoint::Parse(c.text);
    ASSERT_TRUE(endpoint) << endpoint.error().message();
    EXPECT_EQ(endpoint->ToString(), c.normal);
    EXPECT_EQ(*Endpoint::Parse(endpoint->ToString()), *endpoint);
  }
}

TEST(Endpoint, Refuses) {
  for (const std::string& text :
       {std::string(), std::string("localhost:7777"), std::string("tcp://a:1"),
        std::string("unix://x.sock"), std::string("http://"), std::string("http://a:65536"),
        std::string("http://a:x"), std::string("http://a:"), std::string("http://a/b"),
        std::string("http://u@a"), std::string("http://[::1"), std::string("http://[::1]x"),
        std::string("http://[1.2.3.4]"), std::string("http://::1"), std::string("http://127.1"),
        "unix:///" + std::string(107, 'x')}) {
    EXPECT_FALSE(Endpoint::Parse(text)) << text;
  }
}

TEST(ResolveEndpoint, TakesTheFirstSource) {
  const auto never = [](const std::string&) { return false; };
  const auto always = [](const std::string&) { return true; };
  EndpointSources sources{"http://flag:1", "http://environment:1", "http://config:1",
                          "/run/user/1/x.sock"};
  EXPECT_EQ(ResolveEndpoint(sources, always)->source, "--host");
  sources.flag.clear();
  EXPECT_EQ(ResolveEndpoint(sources, always)->endpoint.host, "environment");
  sources.environment.clear();
  EXPECT_EQ(ResolveEndpoint(sources, always)->source, "control_host");
  sources.config.clear();
  EXPECT_EQ(ResolveEndpoint(sources, always)->endpoint.path, "/var/run/cleanroom/cleanroom.sock");
  EXPECT_EQ(ResolveEndpoint(sources, never)->endpoint.path, "/run/user/1/x.sock");
  EXPECT_EQ(ResolveEndpoint(sources, never)->source, "user socket");

  sources.environment = "nonsense";
  EXPECT_THAT(ResolveEndpoint(sources, always).error().message(),
              ::testing::StartsWith("CLEANROOM_HOST: `nonsense`"));
}

}  // namespace
}  // namespace cleanroom::config
