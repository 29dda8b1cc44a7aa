#include "client/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace isthmus {
namespace {

constexpr int64_t kBarEveryUs = 100'000;
constexpr int64_t kLineEveryUs = 5'000'000;

void WriteToStandardError(absl::string_view text) {
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
}

int TerminalWidth() {
  winsize size{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20;
  return known ? size.ws_col : 80;
}

std::string Bar(int64_t done, int64_t total) {
  constexpr int kCells = 20;
  const int full = total > 0 ? static_cast<int>(kCells * std::min(done, total) / total) : 0;
  return absl::StrCat("[", std::string(full, '#'), std::string(kCells - full, '.'), "] ");
}

}  // namespace

Progress::Form Progress::Choose(bool quiet) {
  if (quiet) return Form::kQuiet;
  return ::isatty(STDERR_FILENO) == 1 ? Form::kBar : Form::kLines;
}

Progress::Progress(Form form)
    : Progress(form, WriteToStandardError, TerminalWidth(), Clock::Real()) {}

Progress::Progress(Form form, Write write, int width, Clock* clock)
    : form_(form), write_(std::move(write)), width_(width), clock_(clock) {}

void Progress::Show(const Step& step) {
  if (!Due(step.step, step.total_steps)) return;
  Draw(absl::StrFormat(
           "step %d/%d  loss %.4f  %.0f tokens/s  %.2f/%.2f bits/element  link %.2f MB/s",
           step.step, step.total_steps, step.loss, step.tokens_per_s, step.bits_per_element_forward,
           step.bits_per_element_backward, step.link_mb_per_s) +
           (step.quality_db ? absl::StrFormat("  quality %+.0f dB", *step.quality_db) : ""),
       step.step, step.total_steps);
}

void Progress::ShowCount(absl::string_view what, int64_t done, int64_t total) {
  if (Due(done, total)) Draw(absl::StrFormat("%s %d/%d", what, done, total), done, total);
}

bool Progress::Due(int64_t done, int64_t total) {
  if (form_ == Form::kQuiet) return false;
  const int64_t now = clock_->NowUs();
  if (first_us_ == 0) {
    first_us_ = now;
    first_done_ = done;
    drawn_us_ = form_ == Form::kBar ? 0 : now;
  }
  const int64_t every = form_ == Form::kBar ? kBarEveryUs : kLineEveryUs;
  // The end is shown too, but for short work without a line before it.
  const bool last = done >= total && (form_ == Form::kBar || drawn_us_ > first_us_);
  if (now - drawn_us_ < every && !last) return false;
  drawn_us_ = now;
  return true;
}

void Progress::Draw(const std::string& text, int64_t done, int64_t total) {
  const std::string line = absl::StrCat(text, TimeLeft(done, total));
  if (form_ == Form::kLines) {
    write_(absl::StrCat(line, "\n"));
    return;
  }
  std::string bar = absl::StrCat(Bar(done, total), line);
  bar.resize(std::min<size_t>(bar.size(), width_ - 1));  // one that wraps could not be drawn over
  write_(absl::StrCat("\r\x1b[K", bar));
  bar_shown_ = true;
}

std::string Progress::TimeLeft(int64_t done, int64_t total) const {
  if (done <= first_done_ || done >= total) return "";
  const double elapsed_s = static_cast<double>(clock_->NowUs() - first_us_) * 1e-6;
  const double left_s = elapsed_s * static_cast<double>(total - done) / (done - first_done_);
  const int64_t seconds = static_cast<int64_t>(std::min(left_s, 3.6e8));
  if (seconds >= 3600) return absl::StrFormat("  ETA %dh%02dm", seconds / 3600, seconds / 60 % 60);
  return absl::StrFormat("  ETA %d:%02d", seconds / 60, seconds % 60);
}

void Progress::Note(absl::string_view text) {
  if (form_ == Form::kQuiet) return;
  write_(absl::StrCat(bar_shown_ ? "\r\x1b[K" : "", text, "\n"));
  bar_shown_ = false;
}

void Progress::Finish() {
  if (bar_shown_) write_("\r\x1b[K");
  bar_shown_ = false;
  first_us_ = 0;
}

}  // namespace isthmus
