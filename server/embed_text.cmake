# Writes OUTPUT, a C++ file that defines BuiltinClassListTexts() from the JSON files DIRECTORY/NAME.json for each of NAMES
# (separated by commas), so that the server needs no data folder at run time.
string(REPLACE "," ";" NAMES "${NAMES}")
set(entries "")
foreach(name IN LISTS NAMES)
  file(READ "${DIRECTORY}/${name}.json" text)
  string(APPEND entries "      {\"${name}\", R\"json(${text})json\"},\n")
endforeach()
file(WRITE "${OUTPUT}.new" "#include \"server/builtin_class_lists.h\"

namespace spatialmamba {

std::span<const BuiltinClassListText> BuiltinClassListTexts() {
  static constexpr BuiltinClassListText kLists[] = {
${entries}  };
  return kLists;
}

}  // namespace spatialmamba
")
file(RENAME "${OUTPUT}.new" "${OUTPUT}")
