#include "clients/cpp/svg.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/cpp/coco_runs.h"

namespace spatialmamba {
namespace {

// Names come from a server: they are text, never markup. What XML cannot hold becomes "?".
std::string Escaped(std::string_view text) {
  std::string safe;
  for (const char c : text) {
    const bool control = static_cast<unsigned char>(c) < ' ' || c == '\x7F';
    switch (c) {
      case '&':
        safe += "&amp;";
        break;
      case '<':
        safe += "&lt;";
        break;
      case '>':
        safe += "&gt;";
        break;
      case '"':
        safe += "&quot;";
        break;
      default:
        safe += control ? '?' : c;
    }
  }
  return safe;
}

std::string DataUri(std::string_view file) {
  const auto begins = [&](std::string_view with) { return file.substr(0, with.size()) == with; };
  std::string type = "tiff";
  if (begins("\xFF\xD8")) type = "jpeg";
  if (begins("\x89PNG")) type = "png";
  if (begins("RIFF")) type = "webp";
  return absl::StrCat("data:image/", type, ";base64,",
                      absl::Base64Escape(absl::string_view(file.data(), file.size())));
}

std::string Percent(double share) { return absl::StrFormat("%.1f %%", 100 * share); }

// A bright colour; those of neighbouring classes differ much.
std::string ClassColor(int index) {
  return absl::StrFormat("hsl(%.0f,85%%,50%%)", std::fmod(index * 222.5 + 209, 360));
}

// A row of the panel below a picture.
struct Entry {
  std::string name;
  double share = 0;
  std::string color;
};

// A drawing of the picture's size with a panel below it; lengths are in pixels of the picture.
class Drawing {
 public:
  Drawing(const std::string& picture, const v1::ImageSize& size)
      : width_(size.width()),
        height_(size.height()),
        text_(std::max(10, std::min(width_, height_) / 32)) {
    AddImage(picture, "");
  }

  void AddImage(std::string_view file, std::string_view attributes) {
    absl::StrAppend(&body_, "<image width=\"", width_, "\" height=\"", height_,
                    "\" preserveAspectRatio=\"none\" ",
                    absl::string_view(attributes.data(), attributes.size()), " href=\"",
                    DataUri(file), "\"/>\n");
  }

  void AddMask(const v1::Mask& mask, const std::string& color) {
    if (mask.has_png()) {
      const std::string id = absl::StrCat("m", masks_++);
      absl::StrAppend(&body_, "<mask id=\"", id, "\">");
      AddImage(mask.png(), "");
      absl::StrAppend(&body_, "</mask><rect width=\"", width_, "\" height=\"", height_,
                      "\" fill=\"", color, "\" fill-opacity=\".45\" mask=\"url(#", id, ")\"/>\n");
      return;
    }
    absl::StrAppend(&body_, "<path fill=\"", color, "\" fill-opacity=\".45\" d=\"",
                    mask.has_coco_rle() ? RunsPath(mask.coco_rle()) : PolygonPath(mask.polygon()),
                    "\"/>\n");
  }

  void AddBox(const v1::Box& box, const std::string& label, const std::string& color) {
    const double width = 0.6 * text_ * static_cast<double>(label.size()) + 8;
    const double height = 1.4 * text_;
    const double x = std::clamp<double>(box.x1(), 0, std::max(0.0, width_ - width));
    const double y = box.y1() >= height ? box.y1() - height : box.y1();
    absl::StrAppendFormat(
        &body_,
        "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"none\" "
        "stroke=\"%s\" stroke-width=\"%.1f\"/>\n",
        box.x1(), box.y1(), std::max(0.0F, box.x2() - box.x1()),
        std::max(0.0F, box.y2() - box.y1()), color, text_ / 6.0);
    absl::StrAppendFormat(&body_,
                          "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>"
                          "<text x=\"%.1f\" y=\"%.1f\" fill=\"#fff\" stroke=\"#111827\" "
                          "stroke-width=\".15em\" paint-order=\"stroke\">%s</text>\n",
                          x, y, width, height, color, x + 4, y + text_, Escaped(label));
  }

  // `bars`: a bar for each entry, else a patch of its colour before the name.
  void AddPanel(const std::vector<Entry>& entries, bool bars) {
    const double row = 1.8 * text_;
    for (size_t i = 0; i < entries.size(); ++i) {
      const Entry& entry = entries[i];
      const double top = height_ + row * static_cast<double>(i) + 0.4 * text_;
      const double x = bars ? width_ * 0.5 : text_ * 0.5;
      const double length = bars ? width_ * 0.33 : text_ * 1.2;
      if (bars) AddRect(x, top, length, "#e5e7eb");
      AddRect(x, top, bars ? length * std::clamp(entry.share, 0.0, 1.0) : length, entry.color);
      absl::StrAppendFormat(&body_, "<text x=\"%.1f\" y=\"%.1f\">%s</text>",
                            bars ? text_ * 0.5 : text_ * 2.2, top + text_, Escaped(entry.name));
      absl::StrAppendFormat(&body_, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                            width_ - text_ * 0.5, top + text_, Percent(entry.share));
    }
    panel_ = row * static_cast<double>(entries.size()) + 0.6 * text_;
  }

  std::string Finish() const {
    return absl::StrFormat(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" "
        "font-family=\"sans-serif\" font-size=\"%d\">\n"
        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n%s</svg>\n",
        width_, height_ + panel_, text_, body_);
  }

 private:
  static std::string RunsPath(const v1::CocoRle& mask) {
    std::string path;
    for (const ColumnRun& run : SetRuns(mask)) {
      absl::StrAppend(&path, "M", run.x, " ", run.y, "h1v", run.length, "h-1z");
    }
    return path;
  }

  static std::string PolygonPath(const v1::PolygonMask& mask) {
    std::string path;
    for (const v1::Polygon& polygon : mask.polygons()) {
      for (int i = 0; i + 1 < polygon.xy_size(); i += 2) {
        absl::StrAppend(&path, i == 0 ? "M" : "L", polygon.xy(i), " ", polygon.xy(i + 1));
      }
      path += "z";
    }
    return path;
  }

  void AddRect(double x, double y, double width, const std::string& color) {
    absl::StrAppendFormat(
        &body_, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>", x, y,
        width, 1.2 * text_, color);
  }

  const int width_;
  const int height_;
  const int text_;  // its size
  int masks_ = 0;
  double panel_ = 0;  // its height
  std::string body_;
};

// The colours of a PNG file's palette; none if it has no palette.
std::vector<std::string> Palette(std::string_view png) {
  constexpr size_t kSignature = 8;
  constexpr size_t kHead = 8;    // of a chunk: length and type
  constexpr size_t kFrame = 12;  // and checksum
  std::vector<std::string> colors;
  const auto byte = [&](size_t at) { return static_cast<unsigned>(static_cast<uint8_t>(png[at])); };
  for (size_t at = kSignature; at + kFrame <= png.size();) {
    const size_t length = byte(at) << 24U | byte(at + 1) << 16U | byte(at + 2) << 8U | byte(at + 3);
    if (length > png.size() - at - kFrame) return colors;
    for (size_t i = at + kHead; png.substr(at + 4, 4) == "PLTE" && i + 2 < at + kHead + length;
         i += 3) {
      colors.push_back(absl::StrFormat("#%02x%02x%02x", byte(i), byte(i + 1), byte(i + 2)));
    }
    if (!colors.empty()) return colors;
    at += length + kFrame;
  }
  return colors;
}

}  // namespace

std::string DrawClasses(const std::string& picture, const v1::Classification& result) {
  std::vector<Entry> entries;
  for (const v1::Class& one : result.classes()) {
    entries.push_back({one.name(), one.probability(), "#2563eb"});
  }
  Drawing drawing(picture, result.image_size());
  drawing.AddPanel(entries, true);
  return drawing.Finish();
}

std::string DrawObjects(const std::string& picture, const v1::Detection& result) {
  Drawing drawing(picture, result.image_size());
  for (int i = result.objects_size(); i-- > 0;) {
    const v1::DetectedObject& object = result.objects(i);
    if (object.has_mask()) drawing.AddMask(object.mask(), ClassColor(object.class_index()));
  }
  for (int i = result.objects_size(); i-- > 0;) {
    const v1::DetectedObject& object = result.objects(i);
    drawing.AddBox(object.box(), absl::StrCat(object.name(), " ", Percent(object.score())),
                   ClassColor(object.class_index()));
  }
  return drawing.Finish();
}

std::string DrawLabels(const std::string& picture, const v1::Segmentation& result) {
  Drawing drawing(picture, result.image_size());
  drawing.AddImage(result.label_map(), "opacity=\".5\" image-rendering=\"pixelated\"");
  const std::vector<std::string> palette = Palette(result.label_map());
  int64_t pixels = 0;
  for (const v1::ClassShare& share : result.classes()) pixels += share.pixels();
  std::vector<Entry> entries;
  for (const v1::ClassShare& share : result.classes()) {
    if (1000 * share.pixels() < pixels) continue;  // nobody would find it
    const auto index = static_cast<size_t>(share.index());
    entries.push_back({share.name(),
                       static_cast<double>(share.pixels()) / static_cast<double>(pixels),
                       index < palette.size() ? palette[index] : "#9ca3af"});
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.share > b.share; });
  drawing.AddPanel(entries, false);
  return drawing.Finish();
}

}  // namespace spatialmamba
