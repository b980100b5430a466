/**
 * Our additions to the mlx-c ABI: whole parts of a transformer's block in one operation. A bridge that does not find
 * them composes the same from ordinary operations. CPU only; activations float32. Each function is on one line.
 */

#ifndef BUNSEN_EXTRAS_H
#define BUNSEN_EXTRAS_H

#include "mlxc.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef struct bunsen_attention { void* ctx; } bunsen_attention;
typedef struct bunsen_mlp { void* ctx; } bunsen_mlp;
typedef struct bunsen_linear { void* ctx; } bunsen_linear;

/* bunsen.h */
/* "name count" a line: how often an operation that has a kernel was left to MLX, since the library was opened. */
int bunsen_fallbacks(mlx_string* res);

/* How many threads work, the calling one included; 0: as many as the machine has cores. Holds from the next operation on. */
int bunsen_set_threads(int count);

/* Whether products of 4- and 8-bit weights may carry activations in 8 bits (true) or 24 (false, as at the start). Where the machine multiplies floats instead it changes nothing. */
int bunsen_set_fast(bool fast);

/* An array whose memory nobody has written, and which the machine gives only as it is written. */
int bunsen_reserve(mlx_array* res, const int* shape, size_t dim, mlx_dtype dtype, const mlx_stream s);

/* Gives the memory of those parts of a computed array, part_bytes each, back to the machine: what they hold is lost. */
int bunsen_forget(const mlx_array a, const uint32_t* parts, size_t count, size_t part_bytes);

/* Part of an open file as an array, in place: pages come from the disk as they are read, and nothing that is written reaches the file. */
int bunsen_map(mlx_array* res, int file, uint64_t offset, const int* shape, size_t dim, mlx_dtype dtype);

/* How often so far a mapped file turned out to have been cut; what it lost reads as zeros. */
int bunsen_files_cut(void);

/* ggml blocks, an array of bytes (type 0: Q4_0, 1: Q4_1, 2: Q8_0) as affine groups of 32: words (rows, columns * bits / 32), scales and biases (rows, columns / 32) in float16. Row i is row order[i]; order may be null. */
int bunsen_repack(mlx_array* words, mlx_array* scales, mlx_array* biases, const mlx_array blocks, int type, size_t rows, size_t columns, const uint32_t* order);

/* Cosines and sines of positions (tokens), int32, over wavelengths (pairs), times magnitude: (tokens, 2, pairs). */
int bunsen_rope_angles(mlx_array* res, const mlx_array positions, const mlx_array wavelengths, float scale, float magnitude, const mlx_stream s);

/* x (rows, columns) by the error function, without a change of shape. */
int bunsen_gelu(mlx_array* res, const mlx_array x, const mlx_stream s);

/* Recurrent layers over several sequences: stretches are three numbers each, the first of its tokens, their count, and which of befores was kept of it (-1: it starts here, from zeros). res gets what comes out, then what is to be kept of each. */
/* A causal convolution of each channel: x (tokens, channels), taps (length, channels), bias (channels) or a null ctx; kept are the last inputs (length - 1, channels). */
int bunsen_convolve(mlx_vector_array* res, const mlx_array x, const mlx_array taps, const mlx_array bias, const int* stretches, size_t count, const mlx_vector_array befores, const mlx_stream s);
/* The gated delta rule: queries and keys (tokens, key_heads, key_dim), values (tokens, heads, value_dim), logarithms of decays and rates (tokens, heads); kept is the state (heads, key_dim, value_dim). */
int bunsen_delta_rule(mlx_vector_array* res, const mlx_array queries, const mlx_array keys, const mlx_array values, const mlx_array log_decays, const mlx_array rates, const int* stretches, size_t count, const mlx_vector_array befores, const mlx_stream s);

/* The weights of one attention layer, in the order of attention.h; an absent one has a null ctx. Null after an error. */
bunsen_attention bunsen_attention_new(const mlx_array* weights, const int* numbers, const float* factors, const mlx_stream s);
int bunsen_attention_free(bunsen_attention layer);
/* x and residual (tokens, hidden); keys and values as in attention.h, float32 or quantised in uint16, are written in place; spans as there. */
int bunsen_attention_apply(mlx_array* res, const bunsen_attention layer, const mlx_array x, const mlx_array residual, const mlx_array keys, const mlx_array values, const mlx_array spans, const mlx_array angles, const mlx_stream s);
/* All between the projections: queries, keys and values side by side (tokens, (heads + 2 * kv_heads) * head_dim), before norms and turns, to what is attended (tokens, heads * head_dim). */
int bunsen_attention_mix(mlx_array* res, const bunsen_attention layer, const mlx_array projected, const mlx_array keys, const mlx_array values, const mlx_array spans, const mlx_array angles, const mlx_stream s);
/* One of the layer's projections (0: queries, 1: keys, 2: values, 3: what was attended) over the same weights, to be freed by itself. Null after an error. */
bunsen_linear bunsen_attention_linear(const bunsen_attention layer, int number);

/* The weights of one feed-forward layer, in the order of mlp.h. Null after an error. */
bunsen_mlp bunsen_mlp_new(const mlx_array* weights, const int* numbers, const float* factors, const mlx_stream s);
int bunsen_mlp_free(bunsen_mlp layer);
/* x and residual (tokens, hidden) to (tokens, hidden). */
int bunsen_mlp_apply(mlx_array* res, const bunsen_mlp layer, const mlx_array x, const mlx_array residual, const mlx_stream s);
/* One of the layer's projections (0: gate, 1: up, 2: down), as of an attention layer. */
bunsen_linear bunsen_mlp_linear(const bunsen_mlp layer, int number);

/* One projection: weight, scales, biases, bias; columns, group_size, bits (0: dense). Null after an error. */
bunsen_linear bunsen_linear_new(const mlx_array* weights, const int* numbers, const float* factors, const mlx_stream s);
int bunsen_linear_free(bunsen_linear layer);
/* x (tokens, columns) to (tokens, rows). */
int bunsen_linear_apply(mlx_array* res, const bunsen_linear layer, const mlx_array x, const mlx_stream s);
/* Rows of the weights by uint32 number: (tokens) to (tokens, columns). */
int bunsen_linear_rows(mlx_array* res, const bunsen_linear layer, const mlx_array numbers, const mlx_stream s);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
