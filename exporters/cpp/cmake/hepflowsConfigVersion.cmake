# Version of the headers beside this file, the numbers of hepflows/_version.py. Before 1.0 a minor version may change the
# interface, so that only the same one counts, as new as asked for or newer.
set(PACKAGE_VERSION "0.1.0")

set(PACKAGE_VERSION_COMPATIBLE FALSE)
set(PACKAGE_VERSION_EXACT FALSE)
if(PACKAGE_FIND_VERSION_RANGE)
  if(PACKAGE_VERSION VERSION_GREATER_EQUAL PACKAGE_FIND_VERSION_MIN AND
     (PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION_MAX OR
      (PACKAGE_FIND_VERSION_RANGE_MAX STREQUAL "INCLUDE" AND PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION_MAX)))
    set(PACKAGE_VERSION_COMPATIBLE TRUE)
  endif()
else()
  string(REGEX MATCH "^[0-9]+[.][0-9]+" _hepflows_minor "${PACKAGE_VERSION}")
  if(PACKAGE_FIND_VERSION_COUNT LESS 2)
    set(_hepflows_wanted "${PACKAGE_FIND_VERSION_MAJOR}.0")
    string(REGEX REPLACE "[.].*" ".0" _hepflows_minor "${PACKAGE_VERSION}")
  else()
    set(_hepflows_wanted "${PACKAGE_FIND_VERSION_MAJOR}.${PACKAGE_FIND_VERSION_MINOR}")
  endif()
  if(_hepflows_wanted VERSION_EQUAL _hepflows_minor AND PACKAGE_VERSION VERSION_GREATER_EQUAL PACKAGE_FIND_VERSION)
    set(PACKAGE_VERSION_COMPATIBLE TRUE)
  endif()
  if(PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
