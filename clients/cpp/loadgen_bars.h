#pragma once

#include <optional>
#include <string>
#include <vector>

#include "clients/cpp/loadgen_session.h"

namespace spatialmamba::loadgen {

// One figure that a server should reach, and what was measured.
struct Bar {
  std::string name;
  std::string measured;
  std::string least;  // what is asked
  std::string aim;    // empty: no more than that
  bool met = false;
};

// The figures at a deadline of ten service times: nothing refused or late at .65 of the offline
// rate, at most 1 % at .75, a goodput ratio of .7, a goodput of .6 of the offline rate at 1.5 and 3
// times that rate, no answer past its deadline, and a time to retry with every UNAVAILABLE. Only
// those that the report has measured.
std::vector<Bar> Judge(const Report& report);

// As a table; empty if there is nothing to judge.
std::string FormatBars(const std::vector<Bar>& bars);

}  // namespace spatialmamba::loadgen
