#include "pipeline/simulator.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>

#include "base/downlink.h"

namespace isthmus {
namespace {

// A frame on its way: what it lets the receiver do, and how long either host's link is busy with
// it.
struct Flight {
  uint32_t from = 0, to = 0;
  Action enabled;
  double out_s = 0.0, in_s = 0.0;
};

// Something that happens on the links at `time`.
struct Event {
  enum class What { kLeft, kLastByte, kDelivered };
  double time;
  uint64_t order;  // ties in the order of creation: deterministic
  What what;
  Flight flight;
  bool operator>(const Event& other) const {
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
    downlinks_.resize(parties);
    result_.busy_s.assign(parties, 0.0);
    result_.egress_s.assign(parties, 0.0);
  }

  SimulatedStep Run() {
    for (;;) {
      for (uint32_t party = 0; party < running_.size(); ++party) TryStart(party);
      const uint32_t next = FirstToFinish();
      const double finish =
          next < running_.size() ? now_ + running_[next]->left_s / Speed() : kNever;
      const double event = events_.empty() ? kNever : events_.top().time;
      if (finish == kNever && event == kNever) return result_;
      Compute(std::min(finish, event));
      if (event <= finish) {
        const Event happened = events_.top();
        events_.pop();
        Happen(happened);
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
  // One link, one direction.
  struct Queue {
    std::deque<Flight> waiting;
    bool sending = false;
  };
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
    Flight flight;
    flight.enabled = {done.work, up ? done.stage + 1 : done.stage - 1, done.micro_batch};
    flight.from = party_of_[done.stage];
    flight.to = party_of_[flight.enabled.stage];
    const EdgeCost& edge = edges_[up ? done.stage : done.stage - 1];
    const double bytes = static_cast<double>(up ? edge.forward_bytes : edge.backward_bytes);
    flight.out_s = Seconds(bytes, links_[flight.from].rate_mbps);
    flight.in_s = Seconds(bytes, links_[flight.to].rate_mbps);
    Queue& queue = queues_[{flight.from, flight.to}];
    queue.waiting.push_back(flight);
    Transmit(&queue);
  }

  // A link hands its host one frame at a time, so that a host's links take turns.
  void Transmit(Queue* queue) {
    if (queue->sending || queue->waiting.empty()) return;
    const Flight flight = queue->waiting.front();
    queue->waiting.pop_front();
    queue->sending = true;
    double& free = egress_free_[flight.from];
    free = std::max(free, now_) + flight.out_s;
    result_.egress_s[flight.from] += flight.out_s;
    At(free, Event::What::kLeft, flight);
    At(free + links_[flight.from].delay_s, Event::What::kLastByte, flight);
  }

  void Happen(const Event& event) {
    const Flight& flight = event.flight;
    if (event.what == Event::What::kLeft) {
      Queue& queue = queues_[{flight.from, flight.to}];
      queue.sending = false;
      Transmit(&queue);
    } else if (event.what == Event::What::kLastByte) {
      // Cut-through: the receiver's link began with the first byte, as far as it was free.
      const double first = now_ - std::max(flight.out_s, flight.in_s);
      At(downlinks_[flight.to].Pass(first, now_, flight.in_s), Event::What::kDelivered, flight);
    } else {
      arrived_[Key(flight.enabled)] = true;
    }
  }

  void At(double time, Event::What what, const Flight& flight) {
    events_.push({time, order_++, what, flight});
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
  std::vector<double> egress_free_;
  std::vector<Downlink> downlinks_;
  std::map<ActionKey, bool> arrived_;
  std::map<std::pair<uint32_t, uint32_t>, Queue> queues_;  // by sender and receiver
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
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
