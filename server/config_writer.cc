#include "server/config_writer.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace spatialmamba {
namespace {

std::string Indent(const std::string& lines) {
  return absl::StrCat(
      "  ", absl::StrReplaceAll(lines.substr(0, lines.size() - 1), {{"\n", "\n  "}}), "\n");
}

std::string ClassYaml(const ClassLabel& label) {
  std::string text = absl::StrCat("{name: ", TextYaml(label.name), ", id: ", label.id);
  if (label.color) {
    const auto& [red, green, blue] = *label.color;
    absl::StrAppend(&text, ", color: [", int{red}, ", ", int{green}, ", ", int{blue}, "]");
  }
  return text + "}";
}

}  // namespace

void ConfigWriter::Classes(std::string_view key, const ModelConfig& model) {
  if (!model.classes) return;
  if (!model.classes_source.empty()) return Line(key, TextYaml(model.classes_source));
  std::string lines;
  for (const ClassLabel& label : *model.classes)
    absl::StrAppend(&lines, "- ", ClassYaml(label), "\n");
  Block(key, lines);
}

void ConfigWriter::Weights(std::string_view key, const std::map<std::string, double>& weights) {
  ConfigWriter writer;
  for (const auto& [tenant, weight] : weights) writer.Line(TextYaml(tenant), NumberYaml(weight));
  Block(key, writer.text_);
}

void ConfigWriter::Models(std::string_view key, Config& config) {
  std::string lines;
  for (ModelConfig& model : config.models) {
    ConfigWriter writer;
    Fields(writer, model);
    const std::string entry = Indent(writer.text_);
    absl::StrAppend(&lines, "- ", entry.substr(2));
  }
  Block(key, lines);
}

void ConfigWriter::Line(std::string_view key, std::string_view value) {
  text_.append(key).append(": ").append(value).append("\n");
}

void ConfigWriter::Block(std::string_view key, const std::string& lines) {
  if (lines.empty()) return Line(key, "{}");
  text_.append(key).append(":\n").append(Indent(lines));
}

}  // namespace spatialmamba
