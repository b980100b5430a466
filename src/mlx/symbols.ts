/** The functions of mlx-c the bridge calls, by header. A test holds each one to native/mlx-c-signatures.txt. */

const handle = "ptr"; // a struct of one pointer, passed in a register
const slot = "ptr"; // where a handle or a value is written
const optional = "u64"; // struct { 4-byte value; bool has_value }, passed in a register as value | has_value << 32
const size = "u64";
const failed = "i32"; // 0, or 1 after the error handler was called

const unary = { args: [slot, handle, handle], returns: failed } as const;
const binary = {
  args: [slot, handle, handle, handle],
  returns: failed,
} as const;
const alongAxis = {
  args: [slot, handle, "i32", handle],
  returns: failed,
} as const;
const reduction = {
  args: [slot, handle, "i32", "bool", handle],
  returns: failed,
} as const;
const shaped = {
  args: [slot, handle, "ptr", size, handle],
  returns: failed,
} as const;

export const symbols = {
  array: {
    mlx_array_new_data: { args: ["ptr", "ptr", "i32", "i32"], returns: handle },
    mlx_array_new_float32: { args: ["f32"], returns: handle },
    mlx_array_free: { args: [handle], returns: failed },
    mlx_array_ndim: { args: [handle], returns: size },
    mlx_array_shape: { args: [handle], returns: "ptr" },
    mlx_array_nbytes: { args: [handle], returns: size },
    mlx_array_dtype: { args: [handle], returns: "i32" },
    mlx_array_data_uint32: { args: [handle], returns: "ptr" },
  },
  device: {
    mlx_device_new_type: { args: ["i32", "i32"], returns: handle },
    mlx_set_default_device: { args: [handle], returns: failed },
    mlx_device_free: { args: [handle], returns: failed },
  },
  memory: {
    mlx_clear_cache: { args: [], returns: failed },
    mlx_set_memory_limit: { args: [slot, size], returns: failed },
  },
  error: {
    mlx_set_error_handler: { args: ["ptr", "ptr", "ptr"], returns: "void" },
  },
  fast: {
    mlx_fast_layer_norm: {
      args: [slot, handle, handle, handle, "f32", handle],
      returns: failed,
    },
    mlx_fast_rms_norm: {
      args: [slot, handle, handle, "f32", handle],
      returns: failed,
    },
    mlx_fast_rope: {
      args: [slot, handle, "i32", "bool", optional, "f32", "i32", handle, handle],
      returns: failed,
    },
    mlx_fast_scaled_dot_product_attention: {
      args: [slot, handle, handle, handle, "f32", "ptr", handle, handle, handle],
      returns: failed,
    },
  },
  metal: {
    mlx_metal_is_available: { args: ["ptr"], returns: failed },
  },
  ops: {
    mlx_add: binary,
    mlx_argmax_axis: reduction,
    mlx_argpartition_axis: { args: [slot, handle, "i32", "i32", handle], returns: failed },
    mlx_astype: alongAxis,
    mlx_view: alongAxis,
    mlx_concatenate_axis: alongAxis,
    mlx_contiguous: { args: [slot, handle, "bool", handle], returns: failed },
    mlx_dequantize: {
      args: [slot, handle, handle, handle, optional, optional, "ptr", handle, optional, handle],
      returns: failed,
    },
    mlx_divide: binary,
    mlx_erf: unary,
    mlx_exp: unary,
    mlx_gather_mm: { args: [slot, handle, handle, handle, handle, "bool", handle], returns: failed },
    mlx_gather_qmm: {
      args: [slot, handle, handle, handle, handle, handle, handle, "bool", optional, optional, "ptr", "bool", handle],
      returns: failed,
    },
    mlx_logaddexp: binary,
    mlx_matmul: binary,
    mlx_maximum: binary,
    mlx_minimum: binary,
    mlx_multiply: binary,
    mlx_quantize: { args: [slot, handle, optional, optional, "ptr", handle, handle], returns: failed },
    mlx_quantized_matmul: {
      args: [slot, handle, handle, handle, handle, "bool", optional, optional, "ptr", handle],
      returns: failed,
    },
    mlx_reshape: shaped,
    mlx_sigmoid: unary,
    mlx_slice: {
      args: [slot, handle, "ptr", size, "ptr", size, "ptr", size, handle],
      returns: failed,
    },
    mlx_slice_update: {
      args: [slot, handle, handle, "ptr", size, "ptr", size, "ptr", size, handle],
      returns: failed,
    },
    mlx_softmax_axis: {
      args: [slot, handle, "i32", "bool", handle],
      returns: failed,
    },
    mlx_sort_axis: alongAxis,
    mlx_sum_axis: reduction,
    mlx_take_along_axis: { args: [slot, handle, handle, "i32", handle], returns: failed },
    mlx_take_axis: {
      args: [slot, handle, handle, "i32", handle],
      returns: failed,
    },
    mlx_tanh: unary,
    mlx_topk_axis: {
      args: [slot, handle, "i32", "i32", handle],
      returns: failed,
    },
    mlx_transpose_axes: shaped,
    mlx_where: {
      args: [slot, handle, handle, handle, handle],
      returns: failed,
    },
    mlx_zeros: { args: [slot, "ptr", size, "i32", handle], returns: failed },
  },
  stream: {
    mlx_default_cpu_stream_new: { args: [], returns: handle },
    mlx_default_gpu_stream_new: { args: [], returns: handle },
  },
  string: {
    mlx_string_data: { args: [handle], returns: "ptr" },
    mlx_string_free: { args: [handle], returns: failed },
  },
  transforms: {
    mlx_eval: { args: [handle], returns: failed },
  },
  vector: {
    mlx_vector_array_new_data: { args: ["ptr", size], returns: handle },
    mlx_vector_array_free: { args: [handle], returns: failed },
    mlx_vector_array_get: { args: [slot, handle, size], returns: failed },
  },
  version: {
    mlx_version: { args: ["ptr"], returns: failed },
  },
} as const;

const newLayer = { args: ["ptr", "ptr", "ptr", handle], returns: handle } as const;

/** Our own additions, by the names in native/bunsen.h: a genuine mlx-c has none. */
export const extra_symbols = {
  bunsen_set_threads: { args: ["i32"], returns: failed },
  bunsen_set_fast: { args: ["bool"], returns: failed },
  bunsen_reserve: { args: [slot, "ptr", size, "i32", handle], returns: failed },
  bunsen_forget: { args: [handle, "ptr", size, size], returns: failed },
  bunsen_map: { args: [slot, "i32", "u64", "ptr", size, "i32"], returns: failed },
  bunsen_files_cut: { args: [], returns: "i32" },
  bunsen_repack: { args: [slot, slot, slot, handle, "i32", size, size, "ptr"], returns: failed },
  bunsen_rope_angles: { args: [slot, handle, handle, "f32", "f32", handle], returns: failed },
  bunsen_convolve: { args: [slot, handle, handle, handle, "ptr", size, handle, handle], returns: failed },
  bunsen_delta_rule: {
    args: [slot, handle, handle, handle, handle, handle, "ptr", size, handle, handle],
    returns: failed,
  },
  bunsen_gelu: { args: [slot, handle, handle], returns: failed },
  bunsen_attention_new: newLayer,
  bunsen_attention_free: { args: [handle], returns: failed },
  bunsen_attention_apply: {
    args: [slot, handle, handle, handle, handle, handle, handle, handle, handle],
    returns: failed,
  },
  bunsen_attention_mix: { args: [slot, handle, handle, handle, handle, handle, handle, handle], returns: failed },
  bunsen_attention_linear: { args: [handle, "i32"], returns: handle },
  bunsen_linear_new: newLayer,
  bunsen_linear_free: { args: [handle], returns: failed },
  bunsen_linear_apply: { args: [slot, handle, handle, handle], returns: failed },
  bunsen_linear_rows: { args: [slot, handle, handle, handle], returns: failed },
  bunsen_mlp_new: newLayer,
  bunsen_mlp_linear: { args: [handle, "i32"], returns: handle },
  bunsen_mlp_free: { args: [handle], returns: failed },
  bunsen_mlp_apply: { args: [slot, handle, handle, handle, handle], returns: failed },
} as const;
