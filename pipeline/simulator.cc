#include "pipeline/simulator.h"

#include <algorithm>
#include <map>
#include <queue>
#include <tuple>

namespace isthmus {
namespace {

// Something becomes true at `time`: a party finished an action, or a frame arrived at one.
struct Event {
  double time;
  uint64_t order;  // ties in the order of creation: deterministic
  Action action;   // finished, or enabled by the arrival
  bool arrival;
  bool operator>(const Event& other) const {
    return std::tie(time, order) > std::tie(other.time, other.order);
  }
};

class StepSimulation {
 public:
  StepSimulation(const Schedule& schedule, absl::Span<const StageCost> stages,
                 absl::Span<const EdgeCost> edges, absl::Span<const HostLink> links)
      : party_of_(schedule.shape.party_of_stage), stages_(stages), edges_(edges), links_(links) {
    const uint32_t parties = *std::max_element(party_of_.begin(), party_of_.end()) + 1;
    for (uint32_t party = 0; party < parties; ++party) progress_.emplace_back(schedule, party);
    running_.assign(parties, false);
    egress_free_.assign(parties, 0.0);
    ingress_free_.assign(parties, 0.0);
    result_.busy_s.assign(parties, 0.0);
    result_.egress_s.assign(parties, 0.0);
  }

  SimulatedStep Run() {
    for (uint32_t party = 0; party < progress_.size(); ++party) TryStart(party, 0.0);
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      const uint32_t party = party_of_[event.action.stage];
      if (event.arrival) {
        arrived_[Key(event.action)] = true;
      } else {
        running_[party] = false;
        progress_[party].Done(event.action);
        result_.step_s = std::max(result_.step_s, event.time);
        SendOn(event.action, event.time);
      }
      TryStart(party, event.time);
    }
    return result_;
  }

 private:
  using ActionKey = std::tuple<int, uint32_t, uint32_t>;
  static ActionKey Key(const Action& a) {
    return {static_cast<int>(a.work), a.stage, a.micro_batch};
  }

  void TryStart(uint32_t party, double now) {
    if (running_[party]) return;
    for (const Action& action : progress_[party].Candidates()) {
      if (progress_[party].NeedsFrame(action) && arrived_.count(Key(action)) == 0) continue;
      const StageCost& cost = stages_[action.stage];
      const double seconds = action.work == Work::kForward ? cost.forward_s : cost.backward_s;
      running_[party] = true;
      result_.busy_s[party] += seconds;
      events_.push({now + seconds, order_++, action, false});
      return;
    }
  }

  // The frame that `done` puts on the wire enables the same micro-batch at the neighbouring stage.
  void SendOn(const Action& done, double now) {
    const bool up = done.work == Work::kForward;
    if (up ? done.stage + 1 == party_of_.size() : done.stage == 0) return;
    const Action enabled{done.work, up ? done.stage + 1 : done.stage - 1, done.micro_batch};
    const EdgeCost& edge = edges_[up ? done.stage : done.stage - 1];
    const double bytes = static_cast<double>(up ? edge.forward_bytes : edge.backward_bytes);
    const uint32_t from = party_of_[done.stage], to = party_of_[enabled.stage];
    const double out_s = Seconds(bytes, links_[from].rate_mbps),
                 in_s = Seconds(bytes, links_[to].rate_mbps);
    egress_free_[from] = std::max(egress_free_[from], now) + out_s;
    result_.egress_s[from] += out_s;
    // Cut-through: the receiver's link may start with the first byte, not after the last.
    const double last_byte = egress_free_[from] + links_[from].delay_s;
    ingress_free_[to] = std::max({ingress_free_[to] + in_s, last_byte, last_byte - out_s + in_s});
    events_.push({ingress_free_[to], order_++, enabled, true});
  }

  static double Seconds(double bytes, double rate_mbps) {
    return rate_mbps > 0.0 ? bytes * 8e-6 / rate_mbps : 0.0;
  }

  const absl::Span<const uint32_t> party_of_;
  const absl::Span<const StageCost> stages_;
  const absl::Span<const EdgeCost> edges_;
  const absl::Span<const HostLink> links_;
  std::vector<PartyProgress> progress_;
  std::vector<bool> running_;
  std::vector<double> egress_free_, ingress_free_;
  std::map<ActionKey, bool> arrived_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  uint64_t order_ = 0;
  SimulatedStep result_;
};

}  // namespace

SimulatedStep SimulateStep(const Schedule& schedule, absl::Span<const StageCost> stages,
                           absl::Span<const EdgeCost> edges, absl::Span<const HostLink> links,
                           double update_s) {
  SimulatedStep result = StepSimulation(schedule, stages, edges, links).Run();
  result.step_s += update_s;
  return result;
}

}  // namespace isthmus
