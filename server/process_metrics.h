#pragma once

#include <vector>

#include "prometheus/metric_family.h"

namespace spatialmamba {

// The process_* metrics that every Prometheus client library exports, read from /proc at the moment
// of the call. What cannot be read is left out.
std::vector<prometheus::MetricFamily> CollectProcessMetrics();

}  // namespace spatialmamba
