#include "store/database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <unistd.h>

namespace cleanroom::store {
namespace {

std::unexpected<Error> Failure(sqlite3* database, int status, const std::string& path,
                               std::string_view what) {
  const char* text = database != nullptr ? sqlite3_errmsg(database) : sqlite3_errstr(status);
  switch (status & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Err(
          ErrorCode::kDataCorrupt,
          fmt::format(
              "the records in {} are damaged ({}): nothing was changed; restore the file from a "
              "copy, or move it away to start with empty records",
              path, text));
    case SQLITE_FULL:
      return Err(ErrorCode::kResourceExhausted, fmt::format("{}: {}: {}", path, what, text));
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_READONLY:
      return Err(ErrorCode::kPermissionDenied, fmt::format("{}: {}: {}", path, what, text));
    default:
      return Err(ErrorCode::kInternal, fmt::format("{}: {}: {}", path, what, text));
  }
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : database_(other.database_),
      statement_(std::exchange(other.statement_, nullptr)),
      path_(std::move(other.path_)),
      bound_(other.bound_),
      bind_status_(other.bind_status_) {}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::Bind(int64_t value) {
  const int status = sqlite3_bind_int64(statement_, ++bound_, value);
  if (bind_status_ == SQLITE_OK) bind_status_ = status;
  return *this;
}

Statement& Statement::Bind(std::string_view value) {
  const char* data = value.data() != nullptr ? value.data() : "";
  const int status =
      sqlite3_bind_text64(statement_, ++bound_, data, value.size(), SQLITE_TRANSIENT, SQLITE_UTF8);
  if (bind_status_ == SQLITE_OK) bind_status_ = status;
  return *this;
}

Result<bool> Statement::Step() {
  if (bind_status_ != SQLITE_OK) return Failure(database_, bind_status_, path_, "binding a value");
  const int status = sqlite3_step(statement_);
  if (status == SQLITE_ROW) return true;
  if (status == SQLITE_DONE) return false;
  return Failure(database_, status, path_, "running a statement");
}

Result<int64_t> Statement::Run() {
  for (;;) {
    CR_TRY_ASSIGN(const bool more, Step());
    if (!more) return sqlite3_changes64(database_);
  }
}

int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return {};
  return {text, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

Result<std::unique_ptr<Database>> Database::Open(const std::string& path,
                                                 std::span<const std::string_view> migrations) {
  // SQLite would make the file with the umask's mode; its -wal and -shm files take the mode of the
  // file.
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return ErrErrno(ErrorCode::kPermissionDenied,
                    fmt::format("cannot open the records in {}", path));
  ::close(fd);
  CR_TRY_ASSIGN(auto database, OpenAgain(path));
  CR_TRY(database->Check());
  // The checkpoint waits for the disk, so a pool does it (RecordStore::Checkpoint); this limit,
  // some 40 MB, only bounds the log should that fail.
  CR_TRY(database->Execute(
      "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=10000;"));
  CR_TRY(database->Migrate(migrations));
  return database;
}

Result<std::unique_ptr<Database>> Database::OpenAgain(const std::string& path) {
  sqlite3* handle = nullptr;
  const int status =
      sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  std::unique_ptr<Database> database(new Database(handle, path));
  if (status != SQLITE_OK) return Failure(handle, status, path, "opening");
  sqlite3_extended_result_codes(handle, 1);
  CR_TRY(database->Execute("PRAGMA busy_timeout=5000; PRAGMA foreign_keys=ON;"));
  return database;
}

Database::~Database() { sqlite3_close_v2(handle_); }

Result<void> Database::Execute(const std::string& sql) {
  const int status = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (status != SQLITE_OK) return Failure(handle_, status, path_, "running a statement");
  return {};
}

Result<Statement> Database::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int status =
      sqlite3_prepare_v2(handle_, sql.data(), static_cast<int>(sql.size()), &statement, nullptr);
  if (status != SQLITE_OK) return Failure(handle_, status, path_, "preparing a statement");
  return Statement(handle_, statement, path_);
}

Result<void> Database::Check() {
  CR_TRY_ASSIGN(auto check, Prepare("PRAGMA quick_check(1)"));
  CR_TRY_ASSIGN(const bool row, check.Step());
  if (row && check.Text(0) == "ok") return {};
  return Err(ErrorCode::kDataCorrupt, fmt::format("the records in {} are damaged ({}): nothing was "
                                                  "changed; restore the file from a copy, or "
                                                  "move it away to start with empty records",
                                                  path_, row ? check.Text(0) : "no answer"));
}

Result<void> Database::Migrate(std::span<const std::string_view> migrations) {
  int64_t version = 0;
  {
    CR_TRY_ASSIGN(auto query, Prepare("PRAGMA user_version"));
    CR_TRY(query.Step());
    version = query.Int(0);
  }
  if (version > static_cast<int64_t>(migrations.size())) {
    return Err(ErrorCode::kFailedPrecondition,
               fmt::format("the records in {} have schema version {}, made by a newer cleanroom; "
                           "this one knows up to "
                           "{}: use the newer one, or another state folder",
                           path_, version, migrations.size()));
  }
  for (; version < static_cast<int64_t>(migrations.size()); ++version) {
    CR_TRY_ASSIGN(auto transaction, Transaction::Begin(*this));
    CR_TRY(Execute(std::string(migrations[static_cast<size_t>(version)])));
    CR_TRY(Execute(fmt::format("PRAGMA user_version={}", version + 1)));
    CR_TRY(transaction.Commit());
  }
  return {};
}

Result<Transaction> Transaction::Begin(Database& database) {
  CR_TRY(database.Execute("BEGIN IMMEDIATE"));
  return Transaction(database);
}

Transaction::~Transaction() {
  if (database_ == nullptr) return;
  // Fails only where SQLite has rolled back by itself already.
  (void)database_->Execute("ROLLBACK");
}

Result<void> Transaction::Commit() {
  CR_TRY(database_->Execute("COMMIT"));
  database_ = nullptr;
  return {};
}

}  // namespace cleanroom::store
