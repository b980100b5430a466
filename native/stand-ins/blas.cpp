/**
 * Stands for the BLAS that the wheel's libmlx names: products of matrices that our kernels leave to MLX, in plain loops
 * (the reference BLAS it would bring is no faster, and with its Fortran runtime ten times the size).
 */

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace {

enum Layout { ROW_MAJOR = 101 };
enum Transpose { NO = 111 };

/** C = alpha · op(A) · op(B) + beta · C. */
template <class Number>
void multiply(
    int layout, int transpose_a, int transpose_b, int rows, int columns, int depth, Number alpha, const Number* a,
    int a_stride, const Number* b, int b_stride, Number beta, Number* c, int c_stride) {
  if (layout != ROW_MAJOR) { // the transpose of the product is the product of the transposes, the other way round
    multiply(
        ROW_MAJOR, transpose_b, transpose_a, columns, rows, depth, alpha, b, b_stride, a, a_stride, beta, c, c_stride);
    return;
  }
  for (int row = 0; row < rows; row++) {
    Number* out = c + std::size_t(row) * c_stride;
    for (int column = 0; column < columns; column++) out[column] = beta == 0 ? 0 : beta * out[column];
    for (int k = 0; k < depth; k++) {
      const Number left =
          alpha * (transpose_a == NO ? a[std::size_t(row) * a_stride + k] : a[std::size_t(k) * a_stride + row]);
      const Number* right = transpose_b == NO ? b + std::size_t(k) * b_stride : b + k;
      const std::size_t step = transpose_b == NO ? 1 : b_stride;
      for (int column = 0; column < columns; column++) out[column] += left * right[column * step];
    }
  }
}

} // namespace

#pragma GCC visibility push(default)
extern "C" {

void cblas_sgemm(
    int layout, int transpose_a, int transpose_b, int rows, int columns, int depth, float alpha, const float* a,
    int a_stride, const float* b, int b_stride, float beta, float* c, int c_stride) {
  multiply(layout, transpose_a, transpose_b, rows, columns, depth, alpha, a, a_stride, b, b_stride, beta, c, c_stride);
}

void cblas_dgemm(
    int layout, int transpose_a, int transpose_b, int rows, int columns, int depth, double alpha, const double* a,
    int a_stride, const double* b, int b_stride, double beta, double* c, int c_stride) {
  multiply(layout, transpose_a, transpose_b, rows, columns, depth, alpha, a, a_stride, b, b_stride, beta, c, c_stride);
}

void cblas_cgemm() {
  std::fputs("bunsen: complex products are not part of this library\n", stderr);
  std::abort();
}

} // extern "C"
