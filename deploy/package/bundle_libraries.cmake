# Runs at install time: copies PLUGINS and the shared libraries of PROGRAMS and PLUGINS, except those of glibc, into LIBRARIES,
# and the licence of each into LICENCES (both relative to the prefix). glibc stays the system's: it and the loader must fit
# each other, and every system has it.
# The dependencies of a file, and not a list by hand: a new library comes along by itself.
set(CMAKE_GET_RUNTIME_DEPENDENCIES_PLATFORM linux+elf)
set(CMAKE_GET_RUNTIME_DEPENDENCIES_TOOL objdump)
file(GET_RUNTIME_DEPENDENCIES
  EXECUTABLES ${PROGRAMS}
  LIBRARIES ${PLUGINS}
  RESOLVED_DEPENDENCIES_VAR found
  UNRESOLVED_DEPENDENCIES_VAR missing
  CONFLICTING_DEPENDENCIES_PREFIX conflicting
  PRE_EXCLUDE_REGEXES "^ld-linux.*" "^lib(c|m|dl|rt|pthread|resolv|util|anl|nsl)[.]so.*")
if(missing)
  message(FATAL_ERROR "Libraries that the programs need were not found: ${missing}")
endif()
foreach(name IN LISTS conflicting_FILENAMES)
  list(GET conflicting_${name} 0 first)
  list(APPEND found "${first}")
endforeach()

set(destination "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${LIBRARIES}")
set(licences "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/${LICENCES}")
file(MAKE_DIRECTORY "${destination}" "${licences}")
foreach(library IN LISTS found PLUGINS)
  # By the name under which it is asked for. Debian's chains of links to alternatives end here.
  cmake_path(GET library FILENAME name)
  file(REAL_PATH "${library}" file)
  file(COPY_FILE "${file}" "${destination}/${name}" ONLY_IF_DIFFERENT)

  if(file MATCHES "/site-packages/")
    continue()
  endif()
  # dpkg knows a file by the path before or after /usr was merged.
  string(REGEX REPLACE "^/usr" "" unmerged "${file}")
  execute_process(COMMAND dpkg-query -S "${file}" "${unmerged}" OUTPUT_VARIABLE owner ERROR_QUIET)
  string(REGEX MATCH "^[^:,]+" package "${owner}")
  if(package AND EXISTS "/usr/share/doc/${package}/copyright")
    file(COPY_FILE "/usr/share/doc/${package}/copyright" "${licences}/${package}.txt" ONLY_IF_DIFFERENT)
  else()
    message(FATAL_ERROR "No Debian package owns ${file}, so its licence is not known")
  endif()
endforeach()

# What is compiled in from headers alone.
foreach(package libcli11-dev nlohmann-json3-dev)
  file(COPY_FILE "/usr/share/doc/${package}/copyright" "${licences}/${package}.txt" ONLY_IF_DIFFERENT)
endforeach()

# LibTorch and the two libraries of CUDA that it names come from Python packages.
cmake_path(GET LIBTORCH PARENT_PATH site_packages)
file(GLOB texts "${site_packages}/torch-*.dist-info/licenses/LICENSE" "${site_packages}/torch-*.dist-info/licenses/NOTICE"
     "${site_packages}/nvidia_cuda_*.dist-info/licenses/License.txt")
list(LENGTH texts count)
if(count LESS 3)
  message(FATAL_ERROR "The licences of LibTorch and CUDA are not where they were in ${site_packages}: ${texts}")
endif()
foreach(text IN LISTS texts)
  string(REGEX REPLACE ".*/([a-z_]+)-[^/]*[.]dist-info/licenses/([A-Za-z]+)[^/]*$" "\\1-\\2.txt" name "${text}")
  file(COPY_FILE "${text}" "${licences}/${name}" ONLY_IF_DIFFERENT)
endforeach()
list(LENGTH found count)
message(STATUS "Bundled ${count} libraries in ${destination}")
