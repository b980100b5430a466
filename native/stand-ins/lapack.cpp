/**
 * Stands for the LAPACK that the wheel's libmlx names: factorisations that none of the functions we export can reach.
 * One that is called all the same says its name and ends the process.
 */

#include <cstdio>
#include <cstdlib>

#define REFUSE(NAME)                                                                        \
  extern "C" __attribute__((visibility("default"))) void NAME() {                           \
    std::fputs("bunsen: " #NAME " of LAPACK is not part of this library\n", stderr);        \
    std::abort();                                                                           \
  }

REFUSE(cgeev_)
REFUSE(cgesdd_)
REFUSE(cheevd_)
REFUSE(dgeev_)
REFUSE(dgeqrf_)
REFUSE(dgesdd_)
REFUSE(dgetrf_)
REFUSE(dgetri_)
REFUSE(dorgqr_)
REFUSE(dpotrf_)
REFUSE(dsyevd_)
REFUSE(dtrtri_)
REFUSE(sgeev_)
REFUSE(sgeqrf_)
REFUSE(sgesdd_)
REFUSE(sgetrf_)
REFUSE(sgetri_)
REFUSE(sorgqr_)
REFUSE(spotrf_)
REFUSE(ssyevd_)
REFUSE(strtri_)
