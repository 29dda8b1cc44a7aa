// What long work shows on standard error: a bar on a terminal, a plain line every few seconds
// elsewhere, nothing with --quiet.
#ifndef ISTHMUS_CLIENT_PROGRESS_H_
#define ISTHMUS_CLIENT_PROGRESS_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "base/clock.h"

namespace isthmus {

// One thread at a time.
class Progress {
 public:
  enum class Form : uint8_t { kBar, kLines, kQuiet };
  using Write = std::function<void(absl::string_view)>;

  // To standard error: a bar when that is a terminal.
  static Form Choose(bool quiet);
  explicit Progress(Form form);
  Progress(Form form, Write write, int width, Clock* clock);  // `width` columns
  ~Progress() { Finish(); }

  struct Step {
    int64_t step = 0;  // finished
    int64_t total_steps = 0;
    double loss = 0.0;
    double tokens_per_s = 0.0;
    double bits_per_element_forward = 0.0;
    double bits_per_element_backward = 0.0;
    double link_mb_per_s = 0.0;        // 10^6 bytes, all edges and both directions
    std::optional<double> quality_db;  // codec: auto: against the codec's own target
  };
  void Show(const Step& step);
  // Long work without a loss: "eval 12/40".
  void ShowCount(absl::string_view what, int64_t done, int64_t total);
  // A line that stays: "goes on from step 20". Not with --quiet.
  void Note(absl::string_view text);
  // Removes the bar. What is shown later starts a new one with a new estimate of the time.
  void Finish();

 private:
  bool Due(int64_t done, int64_t total);
  void Draw(const std::string& text, int64_t done, int64_t total);
  std::string TimeLeft(int64_t done, int64_t total) const;

  Form form_;
  Write write_;
  int width_;
  Clock* clock_;
  bool bar_shown_ = false;
  int64_t first_us_ = 0, first_done_ = 0;  // when the count began
  int64_t drawn_us_ = 0;
};

}  // namespace isthmus

#endif  // ISTHMUS_CLIENT_PROGRESS_H_
