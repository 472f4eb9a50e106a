#include "clients/cpp/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace spatialmamba {
namespace {

using testing::HasSubstr;
using testing::Not;

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

v1::Detection TwoObjects() {
  v1::Detection result;
  result.mutable_image_size()->set_height(3);
  result.mutable_image_size()->set_width(2);
  for (const char* name : {"a<b> & \"c\"\n", "plain"}) {
    v1::DetectedObject& object = *result.add_objects();
    object.set_name(name);
    object.set_score(0.25);
    object.mutable_box()->set_x2(1.5);
    object.mutable_box()->set_y2(2.5);
  }
  return result;
}

TEST(Svg, ThePictureIsInsideAndNamesAreTextNotMarkup) {
  const std::string svg = DrawObjects("\xFF\xD8 a jpeg", TwoObjects());
  EXPECT_THAT(svg, HasSubstr("href=\"data:image/jpeg;base64,/9ggYSBqcGVn\""));
  EXPECT_THAT(svg, HasSubstr("a&lt;b&gt; &amp; &quot;c&quot;? 25.0 %</text>"));
  EXPECT_THAT(svg, Not(HasSubstr("a<b>")));
  EXPECT_EQ(Count(svg, "</text>"), 2);
  EXPECT_EQ(Count(svg, "stroke-width=\"1.7\""), 2) << "a box an object";
}

TEST(Svg, MasksOfAllFormsAreDrawn) {
  v1::Detection result = TwoObjects();
  v1::CocoRle& runs = *result.mutable_objects(0)->mutable_mask()->mutable_coco_rle();
  runs.set_height(3);
  runs.set_width(2);
  runs.set_counts("222");
  v1::Polygon& polygon =
      *result.mutable_objects(1)->mutable_mask()->mutable_polygon()->add_polygons();
  for (const float value : {0.F, 0.F, 2.F, 0.F, 2.F, 1.F}) polygon.add_xy(value);
  const std::string svg = DrawObjects("\x89PNG", result);
  EXPECT_THAT(svg, HasSubstr("d=\"M0 2h1v1h-1zM1 0h1v1h-1z\""));
  EXPECT_THAT(svg, HasSubstr("d=\"M0 0L2 0L2 1z\""));
  result.mutable_objects(0)->mutable_mask()->set_png("\x89PNG");
  EXPECT_THAT(DrawObjects("\x89PNG", result), HasSubstr("mask=\"url(#m0)\""));
}

TEST(Svg, ALegendNamesTheClassesInTheirColoursTheLargestFirst) {
  v1::Segmentation result;
  result.mutable_image_size()->set_height(100);
  result.mutable_image_size()->set_width(100);
  const std::string palette("\0\0\0\x06PLTE\x01\x02\x03\xFF\0\x80\0\0\0\0", 18);
  result.set_label_map("\x89PNG\r\n\x1A\n" + palette);
  const std::pair<const char*, int> shares[] = {{"small", 1000}, {"large", 8995}, {"tiny", 5}};
  for (int i = 0; i < 3; ++i) {
    v1::ClassShare& share = *result.add_classes();
    share.set_index(i);
    share.set_name(shares[i].first);
    share.set_pixels(shares[i].second);
  }
  const std::string svg = DrawLabels("RIFF", result);
  EXPECT_THAT(svg, HasSubstr("data:image/webp"));
  EXPECT_THAT(svg, HasSubstr("fill=\"#ff0080\""));
  EXPECT_LT(svg.find(">large<"), svg.find(">small<"));
  EXPECT_EQ(svg.find(">tiny<"), std::string::npos) << "under a thousandth of the picture";
}

TEST(Svg, EachClassHasItsBar) {
  v1::Classification result;
  result.mutable_image_size()->set_height(100);
  result.mutable_image_size()->set_width(100);
  result.add_classes()->set_name("hat");
  result.mutable_classes(0)->set_probability(0.5);
  EXPECT_THAT(DrawClasses("\x89PNG", result), HasSubstr(">50.0 %<"));
}

}  // namespace
}  // namespace spatialmamba
