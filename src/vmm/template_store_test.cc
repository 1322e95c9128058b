#include "vmm/template_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace cleanroom::vmm {
namespace {

class TemplateStoreTest : public testing::Test {
 protected:
  TemplateStoreTest()
      : dir_(os::TempDir::Create().value()),
        store_(dir_.path() + "/templates"),
        key_(TemplateKey(TemplateInputs())) {}

  Result<Template> Make() {
    CR_TRY_ASSIGN(auto draft, store_.Begin(key_));
    CR_TRY(os::WriteFileAtomic(draft.made.memory_file, std::string(1 << 20, 'm')));
    CR_TRY(os::WriteFileAtomic(draft.made.state_file, "state"));
    return store_.Commit(std::move(draft));
  }
  bool Found() {
    auto found = store_.Find(key_);
    EXPECT_TRUE(found) << found.error().ToString();
    return found && found->has_value();
  }
  size_t Folders() {
    return static_cast<size_t>(
        std::distance(std::filesystem::directory_iterator(dir_.path() + "/templates"), {}));
  }

  os::TempDir dir_;
  TemplateStore store_;
  std::string key_;
};

TEST_F(TemplateStoreTest, AppearsWholeOrNotAtAll) {
  EXPECT_FALSE(Found());
  {
    auto draft = store_.Begin(key_);
    ASSERT_TRUE(draft);
    ASSERT_TRUE(os::WriteFileAtomic(draft->made.memory_file, "half"));
    EXPECT_FALSE(Found());
  }
  EXPECT_EQ(Folders(), 0U);
  auto made = Make();
  ASSERT_TRUE(made) << made.error().ToString();
  ASSERT_TRUE(Found());
  EXPECT_EQ((*store_.Find(key_))->memory_file, made->memory_file);
  ASSERT_TRUE(Make()) << "made twice";
  EXPECT_EQ(Folders(), 1U);
  const auto entries = store_.List();
  ASSERT_EQ(entries->size(), 1U);
  EXPECT_EQ(entries->at(0).key, key_);
  EXPECT_GE(entries->at(0).disk_bytes, 1U << 20);
  EXPECT_TRUE(store_.Remove(key_));
  EXPECT_FALSE(Found());
}

TEST_F(TemplateStoreTest, ADamagedOneIsRemovedAndNotTrusted) {
  using Damage = void (*)(const Template&);
  const Damage damages[] = {
      [](const Template& t) { std::filesystem::resize_file(t.state_file, 2); },
      [](const Template& t) { (void)os::WriteFileAtomic(t.state_file, "stale"); },
      [](const Template& t) { std::filesystem::remove(t.state_file); },
      [](const Template& t) { std::filesystem::remove(t.memory_file); },
      [](const Template& t) {
        std::filesystem::permissions(t.memory_file, std::filesystem::perms::owner_all);
        std::filesystem::resize_file(t.memory_file, 1 << 19);
      },
      [](const Template& t) {
        // One bit, in place.
        std::filesystem::permissions(t.memory_file, std::filesystem::perms::owner_all);
        auto file = os::Open(t.memory_file, O_RDWR);
        ASSERT_TRUE(file);
        ASSERT_EQ(pwrite(file->get(), "n", 1, 4096), 1);
      },
      [](const Template& t) {
        (void)os::WriteFileAtomic(t.memory_file, std::string(1 << 20, 'm'));
      },
      [](const Template& t) {
        const auto folder = std::filesystem::path(t.state_file).parent_path();
        (void)os::WriteFileAtomic((folder / "manifest.json").string(), "{}");
      },
  };
  for (size_t i = 0; i < std::size(damages); ++i) {
    auto made = Make();
    ASSERT_TRUE(made);
    ASSERT_TRUE(Found()) << i;
    damages[i](*made);
    EXPECT_FALSE(Found()) << i;
    EXPECT_EQ(Folders(), 0U) << i;
  }
}

TEST_F(TemplateStoreTest, EveryInputCounts) {
  const TemplateInputs base;
  auto differs = [&](auto change) {
    TemplateInputs inputs;
    change(inputs);
    return TemplateKey(inputs) != TemplateKey(base);
  };
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.image_digest = "x"; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.kernel_digest = "x"; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.initrd = "x"; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.vmm = "x"; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.accelerator = "x"; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.vcpus = 1; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.memory_mib = 1; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.disk_mib = 1; }));
  EXPECT_TRUE(differs([](TemplateInputs& i) { i.boot_id = "x"; }));
  EXPECT_EQ(store_.Remove("../x").error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace cleanroom::vmm
