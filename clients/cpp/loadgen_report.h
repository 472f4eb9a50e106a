#pragma once

#include <ostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "clients/cpp/loadgen_bars.h"
#include "clients/cpp/loadgen_session.h"

namespace spatialmamba::loadgen {

// One line of the table while it grows; titles first.
std::string TableHead();
std::string TableRow(const Report& report, const Point& point);

// What follows the table: service time, offline rate, ratios, reasons of refusals, and what makes
// the run invalid.
void WriteSummary(const Report& report, std::ostream& out);

// Everything, for programs. Times are in milliseconds, said in the names.
nlohmann::ordered_json ToJson(const Report& report, const Plan& plan, const Target& target);
nlohmann::ordered_json ToJson(const std::vector<Bar>& bars);

// The percentile distributions of all points, one after the other, in milliseconds.
void WritePercentiles(const Report& report, std::ostream& out);

}  // namespace spatialmamba::loadgen
