#include "coordinator/history.h"

#include <sqlite3.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status.h"
#include "coordinator/job_id.h"

namespace isthmus {
namespace {

constexpr int kSchemaVersion = 1;

constexpr char kSchema[] = R"(
CREATE TABLE jobs(
  number INTEGER PRIMARY KEY, name TEXT NOT NULL, status TEXT NOT NULL, step INTEGER NOT NULL,
  total_steps INTEGER NOT NULL, loss REAL, tokens_per_s REAL, wire_bytes INTEGER NOT NULL,
  message TEXT NOT NULL, workers TEXT NOT NULL, submitted_unix_us INTEGER NOT NULL,
  ended_unix_us INTEGER NOT NULL);
CREATE TABLE events(
  seq INTEGER PRIMARY KEY, unix_us INTEGER NOT NULL, job TEXT NOT NULL, text TEXT NOT NULL);
PRAGMA user_version = 1;
)";

// Events are for people who look back; a year of a busy cluster is far below this.
constexpr int kKeptEvents = 100'000;

struct CloseDatabase {
  void operator()(sqlite3* db) const { sqlite3_close(db); }
};
struct CloseStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Database = std::unique_ptr<sqlite3, CloseDatabase>;

// One prepared statement; arguments are bound in order, columns read by number.
class Query {
 public:
  Query(sqlite3* db, const char* sql) : db_(db) {
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(db, sql, -1, &statement, nullptr);
    statement_.reset(statement);
  }
  Query& Bind(int64_t value) {
    if (statement_ != nullptr) sqlite3_bind_int64(statement_.get(), ++bound_, value);
    return *this;
  }
  Query& Bind(double value) {
    if (statement_ != nullptr) sqlite3_bind_double(statement_.get(), ++bound_, value);
    return *this;
  }
  Query& Bind(const std::string& value) {
    if (statement_ != nullptr) {
      sqlite3_bind_text(statement_.get(), ++bound_, value.data(), static_cast<int>(value.size()),
                        SQLITE_TRANSIENT);
    }
    return *this;
  }
  // SQLITE_ROW, SQLITE_DONE or what went wrong.
  int Step() {
    return statement_ == nullptr ? sqlite3_errcode(db_) : sqlite3_step(statement_.get());
  }
  int64_t Int(int column) { return sqlite3_column_int64(statement_.get(), column); }
  double Real(int column) { return sqlite3_column_double(statement_.get(), column); }
  std::string Text(int column) {
    const auto* text = sqlite3_column_text(statement_.get(), column);
    return text == nullptr ? "" : reinterpret_cast<const char*>(text);
  }

 private:
  sqlite3* const db_;
  std::unique_ptr<sqlite3_stmt, CloseStatement> statement_;
  int bound_ = 0;
};

v1::JobRow ReadRow(Query& query) {
  v1::JobRow row;
  row.set_id(JobId(query.Int(0)));
  row.set_name(query.Text(1));
  row.set_status(query.Text(2));
  row.set_step(query.Int(3));
  row.set_total_steps(query.Int(4));
  row.set_loss(query.Real(5));
  row.set_tokens_per_s(query.Real(6));
  row.set_wire_bytes(query.Int(7));
  row.set_message(query.Text(8));
  const std::string workers = query.Text(9);
  for (absl::string_view worker : absl::StrSplit(workers, ',', absl::SkipEmpty())) {
    row.add_workers(std::string(worker));
  }
  row.set_submitted_unix_us(query.Int(10));
  row.set_ended_unix_us(query.Int(11));
  return row;
}

class SqliteHistory final : public History {
 public:
  SqliteHistory(Database db, std::string path) : db_(std::move(db)), path_(std::move(path)) {}

  // Exclusive: a second coordinator on the same folder would give out the same job ids. WAL with
  // synchronous NORMAL never leaves a torn file; the last few rows before a power cut may be
  // missing.
  absl::Status Prepare() {
    for (const char* pragma : {"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL",
                               "PRAGMA synchronous=NORMAL"}) {
      Query query(db_.get(), pragma);
      const int code = query.Step();
      if (code != SQLITE_ROW && code != SQLITE_DONE) return OpenError(code);
    }
    ISTHMUS_RETURN_IF_ERROR(CheckWhole());
    Query version(db_.get(), "PRAGMA user_version");
    if (const int code = version.Step(); code != SQLITE_ROW) return OpenError(code);
    if (version.Int(0) == kSchemaVersion) return absl::OkStatus();
    if (version.Int(0) != 0) {
      return InvalidArgument("--state: expected schema version ", kSchemaVersion, ", got ",
                             version.Int(0), " (", path_, ", written by another version)");
    }
    const int code = sqlite3_exec(db_.get(), absl::StrCat("BEGIN;", kSchema, "COMMIT;").c_str(),
                                  nullptr, nullptr, nullptr);
    return code == SQLITE_OK ? absl::OkStatus() : OpenError(code);
  }

  absl::Status SaveJob(const v1::JobRow& row) override {
    Query query(db_.get(), "INSERT OR REPLACE INTO jobs VALUES(?,?,?,?,?,?,?,?,?,?,?,?)");
    query.Bind(JobNumber(row.id())).Bind(row.name()).Bind(row.status()).Bind(row.step());
    query.Bind(row.total_steps()).Bind(row.loss()).Bind(row.tokens_per_s()).Bind(row.wire_bytes());
    query.Bind(row.message()).Bind(absl::StrJoin(row.workers(), ","));
    query.Bind(row.submitted_unix_us()).Bind(row.ended_unix_us());
    return Written(query.Step());
  }

  absl::Status SaveEvent(int64_t unix_us, const std::string& job_id,
                         const std::string& text) override {
    Query query(db_.get(), "INSERT INTO events(unix_us,job,text) VALUES(?,?,?)");
    query.Bind(unix_us).Bind(job_id).Bind(text);
    ISTHMUS_RETURN_IF_ERROR(Written(query.Step()));
    const int64_t newest = sqlite3_last_insert_rowid(db_.get());
    if (newest % 1000 != 0) return absl::OkStatus();
    Query trim(db_.get(), "DELETE FROM events WHERE seq <= ?");
    trim.Bind(newest - kKeptEvents);
    return Written(trim.Step());
  }

  absl::StatusOr<std::vector<v1::JobRow>> NewestJobs(int limit) override {
    Query query(db_.get(), "SELECT * FROM jobs ORDER BY number DESC LIMIT ?");
    query.Bind(int64_t{limit});
    std::vector<v1::JobRow> rows;
    int code;
    while ((code = query.Step()) == SQLITE_ROW) rows.push_back(ReadRow(query));
    if (code != SQLITE_DONE) return OpenError(code);
    std::reverse(rows.begin(), rows.end());
    return rows;
  }

  absl::StatusOr<int64_t> NextJob() override {
    Query query(db_.get(), "SELECT COALESCE(MAX(number), 0) + 1 FROM jobs");
    if (const int code = query.Step(); code != SQLITE_ROW) return OpenError(code);
    return query.Int(0);
  }

 private:
  absl::Status CheckWhole() {
    Query check(db_.get(), "PRAGMA quick_check(1)");
    if (const int code = check.Step(); code != SQLITE_ROW) return OpenError(code);
    if (const std::string verdict = check.Text(0); verdict != "ok") {
      return DataLoss("--state: expected an intact history, got ", verdict, " (", path_, ")");
    }
    return absl::OkStatus();
  }

  absl::Status OpenError(int code) {
    switch (code & 0xff) {
      case SQLITE_BUSY:
      case SQLITE_LOCKED:
        return InvalidArgument("--state: expected a folder of its own, got one in use by another ",
                               "coordinator (", path_, ")");
      case SQLITE_NOTADB:
      case SQLITE_CORRUPT:
        return DataLoss("--state: expected an intact history, got ", sqlite3_errmsg(db_.get()),
                        " (", path_, ")");
      default:
        return InvalidArgument("--state: expected a usable folder, got ", sqlite3_errmsg(db_.get()),
                               " (", path_, ")");
    }
  }

  absl::Status Written(int code) {
    if (code == SQLITE_DONE) return absl::OkStatus();
    return Unavailable("history: expected to write, got ", sqlite3_errmsg(db_.get()), " (", path_,
                       ")");
  }

  const Database db_;
  const std::string path_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<History>> History::Open(const std::string& directory) {
  if (const absl::Status made = MakeDirectories(directory); !made.ok()) {
    return InvalidArgument("--state: expected a usable folder, got ", made.message());
  }
  const std::string path = directory + "/coordinator.db";
  sqlite3* raw = nullptr;
  const int code =
      sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  Database db(raw);
  if (code != SQLITE_OK) {
    return InvalidArgument("--state: expected a usable folder, got ", sqlite3_errstr(code), " (",
                           path, ")");
  }
  auto history = std::make_unique<SqliteHistory>(std::move(db), path);
  ISTHMUS_RETURN_IF_ERROR(history->Prepare());
  return history;
}

}  // namespace isthmus
