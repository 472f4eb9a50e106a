#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "tests/model/weights/weights_fixture.h"

namespace spatialmamba {
namespace {

using namespace fixture;  // the pieces of which the files below are made
using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kHuge = int64_t{1} << 62;

std::string FileWith(const TensorRecord& record) {
  return TorchFile(Dict({{"w", TensorPickle(record)}}), {{"0", FourFloats()}});
}

TEST(TorchFiles, StateDictsAreTakenInTheirOrderOfPreference) {
  const std::string tensor = Dict({{"w", TensorPickle({})}});
  const std::map<std::string, std::string> storages = {{"0", FourFloats()}};
  EXPECT_EQ(Read(TorchFile(Dict({{"state_dict", tensor}, {"model", tensor}}), storages)).key,
            "model");
  EXPECT_EQ(Read(TorchFile(Dict({{"state_dict", tensor}, {"model", Integer(1)}}), storages)).key,
            "state_dict");
  EXPECT_EQ(Read(TorchFile(tensor, storages)).key, "");
  EXPECT_THAT(ErrorOf(TorchFile(Dict({{"generator", tensor}}), storages)),
              HasSubstr("holds tensors under \"generator\""));
  EXPECT_THAT(ErrorOf(TorchFile(Dict({{"epoch", Integer(3)}}))), HasSubstr("holds no tensors"));
}

TEST(TorchFiles, OrderedDictsAndOtherClassesStandForDicts) {
  const std::string items = "(" + Text("w") + TensorPickle({}) + "u";
  for (const std::string& made :
       {Call(Global("collections", "OrderedDict"), ")"), Global("my.module", "Dict") + ")\x81"}) {
    const Checkpoint checkpoint =
        Read(TorchFile(made + items + Dict({}) + "b", {{"0", FourFloats()}}));
    EXPECT_THAT(checkpoint.tensors.at("w").ToFloat(), ElementsAre(0, 1, 2, 3));
  }
}

TEST(TorchFiles, ParametersAreTheirTensors) {
  const std::string parameter = Call(Global("torch._utils", "_rebuild_parameter"),
                                     Tuple({TensorPickle({}), "\x88", Dict({})}));
  const Checkpoint checkpoint = Read(TorchFile(Dict({{"w", parameter}}), {{"0", FourFloats()}}));
  EXPECT_THAT(checkpoint.tensors.at("w").ToFloat(), ElementsAre(0, 1, 2, 3));
}

TEST(TorchFiles, UntypedStoragesTakeTheDTypeOfTheTensor) {
  const std::string storage = Tuple({Text("storage"), Global("torch.storage", "UntypedStorage"),
                                     Text("0"), Text("cpu"), Integer(16)}) +
                              "Q";
  const std::string tensor =
      Call(Global("torch._utils", "_rebuild_tensor_v3"),
           Tuple({storage, Integer(1), Tuple({Integer(3)}), Tuple({Integer(1)}), "\x89", Dict({}),
                  Global("torch", "float32"), "N"}));
  const Checkpoint checkpoint = Read(TorchFile(Dict({{"w", tensor}}), {{"0", FourFloats()}}));
  EXPECT_THAT(checkpoint.tensors.at("w").ToFloat(), ElementsAre(1, 2, 3));
}

TEST(TorchFiles, AnUnsupportedTensorIsNamedOnlyIfItIsNeeded) {
  const std::string complex = TensorPickle({.storage_type = "ComplexFloatStorage", .stored = 2});
  const std::string good = Dict({{"w", TensorPickle({})}});
  const std::string error = ErrorOf(TorchFile(Dict({{"w", complex}}), {{"0", FourFloats()}}));
  EXPECT_THAT(error, HasSubstr("\"w\""));
  EXPECT_THAT(error, HasSubstr("ComplexFloatStorage"));
  EXPECT_EQ(ErrorOf(TorchFile(Dict({{"model", good}, {"ema", Dict({{"w", complex}})}}),
                              {{"0", FourFloats()}})),
            "");
}

TEST(TorchFiles, ViewsMustLieWithinTheirStorage) {
  EXPECT_EQ(ErrorOf(FileWith({})), "");
  EXPECT_EQ(ErrorOf(FileWith({.offset = 3, .shape = {2, 1}, .strides = {0, 9}})), "");
  const TensorRecord bad[] = {
      {.shape = {5}},
      {.offset = 1},
      {.offset = -1, .shape = {1}},
      {.offset = 5, .shape = {0}},
      {.shape = {2}, .strides = {4}},
      {.shape = {-1}},
      {.offset = 3, .shape = {2}, .strides = {-1}},
      {.shape = {2, 2}, .strides = {1}},
      {.shape = {kHuge}},
      {.shape = {kHuge, kHuge}, .strides = {0, 0}},
      {.shape = {kHuge, 4}, .strides = {0, 0}},
      {.shape = {2}, .strides = {INT64_MAX}},
      {.shape = {3, 3}, .strides = {kHuge, kHuge}},
      {.offset = INT64_MAX, .shape = {2}},
      {.offset = INT64_MIN, .shape = {1}},
      {.shape = {0, kHuge, kHuge}, .strides = {1, 1, 1}},
      {.shape = std::vector<int64_t>(40, 1), .strides = std::vector<int64_t>(40, 1)},
      {.stored = 5},
      {.stored = -1},
      {.stored = kHuge},
      {.storage_type = "DoubleStorage"},
      {.key = "1"}};
  for (const TensorRecord& record : bad) {
    EXPECT_THAT(ErrorOf(FileWith(record)), HasSubstr("test.pth has a tensor \"w\""))
        << FormatShape(record.shape) << FormatShape(record.strides) << record.offset;
  }
}

TEST(TorchFiles, RepeatedElementsMayNotUnfoldWithoutBound) {
  const int64_t side = int64_t{1} << 20;
  const std::string error = ErrorOf(FileWith({.shape = {side, side}, .strides = {0, 0}}));
  EXPECT_THAT(error, HasSubstr("repeat elements"));
}

TEST(TorchFiles, ABigEndianFileIsRefused) {
  const std::string file = Zip({{"any/data.pkl", Pickled(Dict({{"w", TensorPickle({})}}))},
                                {"any/data/0", FourFloats()},
                                {"any/byteorder", "big"}});
  EXPECT_THAT(ErrorOf(file), HasSubstr("little endian"));
}

TEST(TorchFiles, OtherZipFilesAreRefusedByWhatTheyAre) {
  EXPECT_THAT(ErrorOf(Zip({{"word/document.xml", "<x/>"}})),
              HasSubstr("none that torch.save wrote"));
  EXPECT_THAT(ErrorOf(Zip({{"m/data.pkl", Pickled("N")}, {"m/constants.pkl", Pickled(")")}})),
              HasSubstr("TorchScript"));
  EXPECT_THAT(ErrorOf(Zip({{"a/data.pkl", Pickled("N")}, {"b/data.pkl", Pickled("N")}})),
              HasSubstr("several"));
  EXPECT_THAT(ErrorOf("GIF89a and more"), HasSubstr("neither a safetensors nor a PyTorch file"));
  EXPECT_THAT(ErrorOf("<!DOCTYPE html>"), HasSubstr("web page"));
  EXPECT_THAT(ErrorOf("version https://git-lfs.github.com/spec/v1"), HasSubstr("git lfs pull"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("is empty"));
  EXPECT_THAT(ErrorOf(Pickled(Dict({}))), HasSubstr("none that torch.save wrote"));
}

TEST(TorchFiles, EntriesThatOverlapAreRefused) {
  std::map<std::string, std::string> storages;
  std::vector<std::pair<std::string, std::string>> tensors;
  for (const char* key : {"0", "1", "2", "3"}) {
    storages[key] = std::string(4000, key[0]);
    tensors.emplace_back(key, TensorPickle({.key = key, .stored = 1000}));
  }
  std::string file = TorchFile(Dict(tensors), storages);
  EXPECT_EQ(ErrorOf(file), "");
  // Every storage claims to reach to the end of the file.
  for (size_t entry = file.find("PK\x01\x02"); entry != file.npos;
       entry = file.find("PK\x01\x02", entry + 1)) {
    if (file.compare(entry + 46, 9, "any/data/") != 0) continue;
    uint32_t header = 0;
    std::memcpy(&header, &file[entry + 42], sizeof(header));
    const auto size = static_cast<uint32_t>(file.size() - header - 40);
    std::memcpy(&file[entry + 20], &size, sizeof(size));
    std::memcpy(&file[entry + 24], &size, sizeof(size));
  }
  EXPECT_THAT(ErrorOf(file), HasSubstr("overlap"));
}

TEST(TorchFiles, CompressedEntriesAreRefused) {
  std::string file = FileWith({});
  const size_t entry = file.find("PK\x01\x02");
  file[entry + 10] = 8;
  EXPECT_THAT(ErrorOf(file), HasSubstr("compressed"));
}

TEST(TorchFiles, DamagedValuesAreFoundByTheChecksum) {
  std::string file = Content(GoldenCheckpoint("views.pth"));
  const std::string value("\x00\x00\xb8\x41", 4);  // 23, the last of the shared storage
  file[file.find(value)] = 1;
  EXPECT_THAT(ErrorOf(file), HasSubstr("checksum"));
}

TEST(Pickles, NestingSharingAndCyclesCostNothing) {
  const std::string deep = std::string(1'000'000, ']') + std::string(999'999, 'a');
  const std::string good = Dict({{"w", TensorPickle({})}});
  std::string laughs = "]q\x01";
  for (int i = 0; i < 100; ++i)
    laughs += "0](" + std::string(20, '2').replace(0, 0, "h\x01") + "eq\x01";
  const std::string cycle =
      "]q\x01h\x01"
      "a";
  for (const std::string& value : {deep, laughs, cycle}) {
    EXPECT_EQ(ErrorOf(TorchFile(Dict({{"log", value}, {"model", good}}), {{"0", FourFloats()}})),
              "");
  }
}

TEST(Pickles, ADictThatHoldsItselfIsReadOnce) {
  const std::string self = "}q\x01(" + Text("model") + "h\x01" + Text("w") + TensorPickle({}) + "u";
  EXPECT_EQ(Read(TorchFile(self, {{"0", FourFloats()}})).tensors.size(), 1U);
}

TEST(Pickles, OneLongNameUsedAMillionTimesIsRefusedAtOnce) {
  std::string value =
      "}(" + Text(std::string(1'000'000, 'n')) + "q\x01" + TensorPickle({}) + "q\x02";
  for (int i = 0; i < 1'000'000; ++i) value += "h\x01h\x02";
  EXPECT_THAT(ErrorOf(TorchFile(value + "u", {{"0", FourFloats()}})), HasSubstr("too long"));
}

TEST(Pickles, TheNumberOfObjectsIsBounded) {
  EXPECT_THAT(ErrorOf(TorchFile(std::string(5'000'000, 'N'))), HasSubstr("objects"));
  EXPECT_THAT(ErrorOf(TorchFile(std::string(5'000'000, '('))), HasSubstr("objects"));
}

TEST(Pickles, NonsenseIsAnError) {
  const std::string bad[] = {
      "0",                                                     // POP of nothing
      "t",                                                     // no mark
      "R",                                                     // no arguments
      "(0",                                                    // POP of a mark
      "h\x07",                                                 // never stored
      "N(" + Text("k") + "Nu",                                 // items into None
      "}(Nu",                                                  // a key without a value
      "NN\x93",                                                // a name that is no text
      "c no line feed",                                        // cut off
      std::string("X\xff\xff\xff\xff", 5),                     // a text longer than the file
      std::string("\x8e\xff\xff\xff\xff\xff\xff\xff\xff", 9),  // 2^64 - 1 bytes
      "\x97",                                                  // a buffer outside of the file
      std::string("\x80\x09", 2)};                             // protocol 9
  for (const std::string& value : bad) {
    EXPECT_THAT(ErrorOf(TorchFile(value)), HasSubstr("test.pth ")) << testing::PrintToString(value);
  }
}

TEST(Pickles, NamesInMessagesAreEscapedAndShort) {
  const std::string name = "\x1b[31m\n" + std::string(900, 'x');
  const std::string error =
      ErrorOf(TorchFile(Dict({{name, TensorPickle({.stored = 99})}}), {{"0", "abcd"}}));
  EXPECT_THAT(error, HasSubstr("\"\\x1b[31m\\x0a"));
  EXPECT_LT(error.size(), 400U);
}

}  // namespace
}  // namespace spatialmamba
