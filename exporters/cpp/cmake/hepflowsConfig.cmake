# Target hepflows::generator: the headers of this directory and ONNX Runtime. Works in place and when installed.
#
# ONNX Runtime is taken from the first of
#   ONNXRUNTIME_INCLUDE_DIR and ONNXRUNTIME_LIBRARY   the headers' directory and the library file
#   ONNXRUNTIME_DIR                                   a directory with include/ and lib/; also as environment variable
#   find_package(onnxruntime CONFIG)                  an installed package; CMAKE_PREFIX_PATH leads to others
#   the system's directories

if(TARGET hepflows::generator)
  return()
endif()

set(ONNXRUNTIME_DIR "$ENV{ONNXRUNTIME_DIR}" CACHE PATH "Directory with ONNX Runtime's include/ and lib/")
set(_hepflows_suffixes
    include include/onnxruntime include/onnxruntime/core/session onnxruntime onnxruntime/core/session)

# A directory that is given is meant: no search elsewhere
if(ONNXRUNTIME_DIR)
  find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_cxx_api.h HINTS "${ONNXRUNTIME_DIR}"
            PATH_SUFFIXES ${_hepflows_suffixes} NO_DEFAULT_PATH)
  find_library(ONNXRUNTIME_LIBRARY onnxruntime HINTS "${ONNXRUNTIME_DIR}" PATH_SUFFIXES lib lib64 NO_DEFAULT_PATH)
elseif(NOT (ONNXRUNTIME_INCLUDE_DIR AND ONNXRUNTIME_LIBRARY))
  find_package(onnxruntime CONFIG QUIET)
  if(NOT onnxruntime_FOUND)
    find_path(ONNXRUNTIME_INCLUDE_DIR onnxruntime_cxx_api.h PATH_SUFFIXES ${_hepflows_suffixes})
    find_library(ONNXRUNTIME_LIBRARY onnxruntime)
  endif()
endif()

set(_hepflows_missing "")
if(NOT TARGET onnxruntime::onnxruntime)
  if(NOT ONNXRUNTIME_INCLUDE_DIR OR NOT EXISTS "${ONNXRUNTIME_INCLUDE_DIR}/onnxruntime_cxx_api.h")
    string(APPEND _hepflows_missing "\n  the C++ headers (onnxruntime_cxx_api.h)")
  endif()
  if(NOT ONNXRUNTIME_LIBRARY OR NOT EXISTS "${ONNXRUNTIME_LIBRARY}")
    string(APPEND _hepflows_missing "\n  the library (libonnxruntime)")
  endif()
endif()
if(_hepflows_missing)
  # find_package decides whether that is an error, a warning or, if QUIET, nothing
  set(hepflows_FOUND FALSE)
  string(CONCAT hepflows_NOT_FOUND_MESSAGE
    "ONNX Runtime was not found. Missing:${_hepflows_missing}\n"
    "Looked in: ONNXRUNTIME_DIR='${ONNXRUNTIME_DIR}', ONNXRUNTIME_INCLUDE_DIR='${ONNXRUNTIME_INCLUDE_DIR}', "
    "ONNXRUNTIME_LIBRARY='${ONNXRUNTIME_LIBRARY}', installed packages, the system's directories.\n"
    "What to do, one of:\n"
    "  install the package of your system or release, libonnxruntime-dev for example, where CMake finds it\n"
    "  -DONNXRUNTIME_DIR=DIR              a directory with include/ and lib/, as the release archives have it\n"
    "  -DONNXRUNTIME_INCLUDE_DIR=DIR -DONNXRUNTIME_LIBRARY=FILE\n"
    "`python -m exporters.cpp_runtime --download DIR` makes such a DIR from the Python package's library.")
  return()
endif()

add_library(hepflows::generator INTERFACE IMPORTED GLOBAL)
get_filename_component(_hepflows_headers "${CMAKE_CURRENT_LIST_DIR}/../include" ABSOLUTE)
if(NOT EXISTS "${_hepflows_headers}/hepflows/hepflows_generator.hpp")
  get_filename_component(_hepflows_headers "${CMAKE_CURRENT_LIST_DIR}/../../../include" ABSOLUTE)
endif()
target_include_directories(hepflows::generator INTERFACE "${_hepflows_headers}")
target_compile_features(hepflows::generator INTERFACE cxx_std_17)
if(TARGET onnxruntime::onnxruntime)
  set(HEPFLOWS_ONNXRUNTIME onnxruntime::onnxruntime)
else()
  # Imported, so that compilers treat its headers as the system's and do not warn about them
  set(HEPFLOWS_ONNXRUNTIME hepflows::onnxruntime)
  add_library(hepflows::onnxruntime UNKNOWN IMPORTED GLOBAL)
  set_target_properties(hepflows::onnxruntime PROPERTIES
    IMPORTED_LOCATION "${ONNXRUNTIME_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${ONNXRUNTIME_INCLUDE_DIR}")
endif()
target_link_libraries(hepflows::generator INTERFACE ${HEPFLOWS_ONNXRUNTIME})
set(hepflows_FOUND TRUE)
