#include "pipeline/simulator.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <tuple>

namespace isthmus {
namespace {

// The frame that `enabled` needs arrives at `time`.
struct Arrival {
  double time;
  uint64_t order;  // ties in the order of creation: deterministic
  Action enabled;
  bool operator>(const Arrival& other) const {
    return std::tie(time, order) > std::tie(other.time, other.order);
  }
};

constexpr double kNever = std::numeric_limits<double>::infinity();

class StepSimulation {
 public:
  StepSimulation(const Schedule& schedule, absl::Span<const StageCost> stages,
                 absl::Span<const EdgeCost> edges, absl::Span<const HostLink> links,
                 uint32_t shared_cores)
      : party_of_(schedule.shape.party_of_stage), stages_(stages), edges_(edges), links_(links) {
    const uint32_t parties = *std::max_element(party_of_.begin(), party_of_.end()) + 1;
    for (uint32_t party = 0; party < parties; ++party) progress_.emplace_back(schedule, party);
    cores_ = shared_cores > 0 ? shared_cores : parties;
    running_.resize(parties);
    egress_free_.assign(parties, 0.0);
    ingress_free_.assign(parties, 0.0);
    result_.busy_s.assign(parties, 0.0);
    result_.egress_s.assign(parties, 0.0);
  }

  SimulatedStep Run() {
    for (;;) {
      for (uint32_t party = 0; party < running_.size(); ++party) TryStart(party);
      const uint32_t next = FirstToFinish();
      const double finish =
          next < running_.size() ? now_ + running_[next]->left_s / Speed() : kNever;
      const double arrival = arrivals_.empty() ? kNever : arrivals_.top().time;
      if (finish == kNever && arrival == kNever) return result_;
      Compute(std::min(finish, arrival));
      if (arrival <= finish) {
        arrived_[Key(arrivals_.top().enabled)] = true;
        arrivals_.pop();
      } else {
        Finish(next);
      }
    }
  }

 private:
  using ActionKey = std::tuple<int, uint32_t, uint32_t>;
  static ActionKey Key(const Action& a) {
    return {static_cast<int>(a.work), a.stage, a.micro_batch};
  }
  struct Running {
    Action action;
    double left_s;  // on a core of its own
  };

  void TryStart(uint32_t party) {
    if (running_[party].has_value()) return;
    for (const Action& action : progress_[party].Candidates()) {
      if (progress_[party].NeedsFrame(action) && arrived_.count(Key(action)) == 0) continue;
      const StageCost& cost = stages_[action.stage];
      const double seconds = action.work == Work::kForward ? cost.forward_s : cost.backward_s;
      running_[party] = Running{action, seconds};
      result_.busy_s[party] += seconds;
      return;
    }
  }

  // Share of a core that each running stage has.
  double Speed() const {
    const auto n = std::count_if(running_.begin(), running_.end(),
                                 [](const auto& r) { return r.has_value(); });
    return std::min(1.0, static_cast<double>(cores_) / static_cast<double>(n));
  }

  uint32_t FirstToFinish() const {
    uint32_t first = static_cast<uint32_t>(running_.size());
    for (uint32_t party = 0; party < running_.size(); ++party)
      if (running_[party].has_value() &&
          (first == running_.size() || running_[party]->left_s < running_[first]->left_s))
        first = party;
    return first;
  }

  void Compute(double until) {
    const double done_s = (until - now_) * Speed();
    for (auto& running : running_)
      if (running.has_value()) running->left_s -= done_s;
    now_ = until;
  }

  void Finish(uint32_t party) {
    const Action done = running_[party]->action;
    running_[party].reset();
    progress_[party].Done(done);
    result_.step_s = now_;
    SendOn(done);
  }

  // The frame that `done` puts on the wire enables the same micro-batch at the neighbouring stage.
  void SendOn(const Action& done) {
    const bool up = done.work == Work::kForward;
    if (up ? done.stage + 1 == party_of_.size() : done.stage == 0) return;
    const Action enabled{done.work, up ? done.stage + 1 : done.stage - 1, done.micro_batch};
    const EdgeCost& edge = edges_[up ? done.stage : done.stage - 1];
    const double bytes = static_cast<double>(up ? edge.forward_bytes : edge.backward_bytes);
    const uint32_t from = party_of_[done.stage], to = party_of_[enabled.stage];
    const double out_s = Seconds(bytes, links_[from].rate_mbps),
                 in_s = Seconds(bytes, links_[to].rate_mbps);
    egress_free_[from] = std::max(egress_free_[from], now_) + out_s;
    result_.egress_s[from] += out_s;
    // Cut-through: the receiver's link may start with the first byte, not after the last.
    const double last_byte = egress_free_[from] + links_[from].delay_s;
    ingress_free_[to] = std::max({ingress_free_[to] + in_s, last_byte, last_byte - out_s + in_s});
    arrivals_.push({ingress_free_[to], order_++, enabled});
  }

  static double Seconds(double bytes, double rate_mbps) {
    return rate_mbps > 0.0 ? bytes * 8e-6 / rate_mbps : 0.0;
  }

  const absl::Span<const uint32_t> party_of_;
  const absl::Span<const StageCost> stages_;
  const absl::Span<const EdgeCost> edges_;
  const absl::Span<const HostLink> links_;
  std::vector<PartyProgress> progress_;
  std::vector<std::optional<Running>> running_;  // by party
  uint32_t cores_ = 1;
  double now_ = 0.0;
  std::vector<double> egress_free_, ingress_free_;
  std::map<ActionKey, bool> arrived_;
  std::priority_queue<Arrival, std::vector<Arrival>, std::greater<>> arrivals_;
  uint64_t order_ = 0;
  SimulatedStep result_;
};

}  // namespace

SimulatedStep SimulateStep(const Schedule& schedule, absl::Span<const StageCost> stages,
                           absl::Span<const EdgeCost> edges, absl::Span<const HostLink> links,
                           double update_s, uint32_t shared_cores) {
  SimulatedStep result = StepSimulation(schedule, stages, edges, links, shared_cores).Run();
  result.step_s += update_s;
  return result;
}

}  // namespace isthmus
