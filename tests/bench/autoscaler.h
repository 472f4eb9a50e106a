#pragma once

#include <deque>
#include <utility>
#include <vector>

namespace spatialmamba::simulation {

// The algorithm of the HorizontalPodAutoscaler (autoscaling/v2,
// kubernetes.io/docs/concepts/workloads/ autoscaling/horizontal-pod-autoscale) with the behaviour
// that the chart sets. KEDA computes nothing itself above one replica: its triggers are external
// metrics of such an autoscaler. Times are in seconds.
struct ScalingRules {
  int min_replicas = 1;
  int max_replicas = 10;
  double tolerance = 0.1;  // of the ratio of a metric to its target
  double sync = 15;        // between two looks
  // helm/templates/autoscaling.yaml
  double up_period = 15;
  double up_percent = 100;
  int up_pods = 4;  // or these, whichever is more
  double down_window = 300;
  double down_period = 60;
  int down_pods = 1;
};

struct Pods {
  int all = 0;
  int ready = 0;
};

// What a metric wants, before behaviour and bounds.
// External, AverageValue: `total` is shared by all pods.
int WantedByAverageValue(double total, double target, Pods pods, double tolerance);
// External, Value: pods in proportion to how far `value` is from its target.
int WantedByValue(double value, double target, Pods pods, double tolerance);
// Resource, Utilization: `mean` over the ready pods; those that are not ready count as idle where
// the metric wants more.
int WantedByUtilization(double mean, double target, Pods pods, double tolerance);

class Autoscaler {
 public:
  explicit Autoscaler(const ScalingRules& rules) : rules_(rules) {}

  // Replicas from now on, of `current` ones, if the metric wants `wanted`. `now` never goes back.
  int Update(double now, int current, int wanted);

 private:
  using Changes = std::deque<std::pair<double, int>>;

  static int Within(const Changes& changes, double now, double period);
  int Stabilized(double now, int current, int wanted);
  int MostAllowed(double now, int current) const;
  int LeastAllowed(double now, int current) const;

  const ScalingRules rules_;
  Changes wanted_;
  Changes added_;
  Changes removed_;
};

}  // namespace spatialmamba::simulation
