# What `cmake --install` lays down, below any prefix, and what CPack puts into a tarball: a tree that can be moved, and that
# runs on any x86-64 Linux with glibc 2.36 or later, since it brings every other library along.
#   bin/                         the programs
#   lib/spatial-mamba/           the libraries that they need
#   share/spatial-mamba/         config.yaml, the demonstration models, rules for Prometheus
#   share/doc/spatial-mamba/     licences, of these libraries too
include(GNUInstallDirs)

set(programs spatial-mamba-server spatial-mamba-cli spatial-mamba-loadgen spatial-mamba-convert)
set(libraries lib/spatial-mamba)
foreach(program IN LISTS programs)
  set_target_properties(${program} PROPERTIES INSTALL_RPATH "\$ORIGIN/../${libraries}")
  # DT_RPATH and not DT_RUNPATH: it counts for the libraries of libraries as well.
  target_link_options(${program} PRIVATE LINKER:--disable-new-dtags)
endforeach()
install(TARGETS ${programs} RUNTIME DESTINATION bin)

list(TRANSFORM programs REPLACE "(.+)" "$<TARGET_FILE:\\1>" OUTPUT_VARIABLE program_files)
# The server loads it only where grpc.reflection is on, so it is no dependency that could be found.
install(CODE "set(PROGRAMS ${program_files})
set(PLUGINS $<TARGET_SONAME_FILE:gRPC::grpc++_reflection>)
set(LIBRARIES ${libraries})
set(LICENCES share/doc/spatial-mamba/third-party)
set(LIBTORCH ${SPATIALMAMBA_LIBTORCH})
include(${CMAKE_CURRENT_LIST_DIR}/bundle_libraries.cmake)")

install(FILES deploy/package/config.yaml DESTINATION share/spatial-mamba)
install(DIRECTORY deploy/models DESTINATION share/spatial-mamba)
install(DIRECTORY deploy/monitoring DESTINATION share/spatial-mamba
        FILES_MATCHING PATTERN "*.yaml" PATTERN "*.json" PATTERN "*.md")
install(FILES LICENSE NOTICE deploy/classes/LICENSE-ade20k.txt deploy/classes/LICENSE-coco.txt
        DESTINATION share/doc/spatial-mamba)

set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME spatial-mamba-server)
set(CPACK_PACKAGE_VENDOR "Spatial-Mamba Server")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "gRPC inference server for Spatial-Mamba vision models")
set(CPACK_STRIP_FILES ON)
set(CPACK_VERBATIM_VARIABLES ON)
include(CPack)
