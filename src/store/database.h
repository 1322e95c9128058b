// Database: one SQLite connection. Statement: one prepared query, bound in order. Every failure is
// a Result: data_corrupt when the file is damaged or no database, resource_exhausted when the disk
// is full, internal else. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace cleanroom::store {

class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) = delete;
  ~Statement();

  // Binds the next parameter. A failure to bind shows at the first Step.
  Statement& Bind(int64_t value);
  Statement& Bind(std::string_view value);

  // Moves to the next row; false behind the last.
  Result<bool> Step();
  // Steps to the end and answers how many rows were changed.
  Result<int64_t> Run();

  // Columns of the current row, from 0.
  int64_t Int(int column) const;
  std::string Text(int column) const;

 private:
  friend class Database;
  Statement(sqlite3* database, sqlite3_stmt* statement, std::string path)
      : database_(database), statement_(statement), path_(std::move(path)) {}

  sqlite3* database_;
  sqlite3_stmt* statement_;
  std::string path_;
  int bound_ = 0;
  int bind_status_ = 0;
};

class Database {
 public:
  // Opens or makes the file (mode 0600) and brings its schema up: migration N takes it from version
  // N to N + 1. A damaged file is left as it is. failed_precondition when a newer version made it.
  static Result<std::unique_ptr<Database>> Open(const std::string& path,
                                                std::span<const std::string_view> migrations);
  // A further connection to a file that is open already, which was checked then.
  static Result<std::unique_ptr<Database>> OpenAgain(const std::string& path);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  // One or more statements without parameters and results.
  Result<void> Execute(const std::string& sql);
  Result<Statement> Prepare(std::string_view sql);

  const std::string& path() const { return path_; }

 private:
  Database(sqlite3* handle, std::string path) : handle_(handle), path_(std::move(path)) {}
  Result<void> Migrate(std::span<const std::string_view> migrations);
  Result<void> Check();

  sqlite3* handle_;
  std::string path_;
};

// All or nothing: rolled back when destroyed without Commit.
class Transaction {
 public:
  static Result<Transaction> Begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> Commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace cleanroom::store
