//go:build !purego

package simd

import "github.com/onnxpack/onnxpack/graph/kernel"

// The assembly takes the offsets of fields from these names.
type (
	tileF32    kernel.TileF32
	tileI8     kernel.TileI8
	window     kernel.Window
	depthwiseQ kernel.DepthwiseU8S8
	depthwiseF kernel.DepthwiseF32
	poolF      kernel.Pool
	quantized  kernel.Quantized
	sparseF    kernel.SparseF32
)

const outQ8 = kernel.OutQ8

// gemm_f32_8x8_neon is the product of kernel.TileF32:
// C[i,j] = clamp(sum over t, k of A[i,t,k]*B[t,k,j] + Bias[j] + Res[i,j]).
//
//go:noescape
func gemm_f32_8x8_neon(t *kernel.TileF32)

// gemm_u8s8_8x8_neon is the product of kernel.TileI8:
// the sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says.
//
//go:noescape
func gemm_u8s8_8x8_neon(t *kernel.TileI8)

// gemm_s8s8_8x8_neon is the product of kernel.TileI8:
// the sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says.
//
//go:noescape
func gemm_s8s8_8x8_neon(t *kernel.TileI8)

// gemm_u8s8_6x16_dotprod is the product of kernel.TileI8:
// the sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says.
//
//go:noescape
func gemm_u8s8_6x16_dotprod(t *kernel.TileI8)

// gemm_s8s8_6x16_dotprod is the product of kernel.TileI8:
// the sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says.
//
//go:noescape
func gemm_s8s8_6x16_dotprod(t *kernel.TileI8)

// gemm_u8s8_6x16_i8mm is the product of kernel.TileI8:
// the sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says.
//
//go:noescape
func gemm_u8s8_6x16_i8mm(t *kernel.TileI8)

// add_f32_neon is dst[i] = a[i] + b[i], for whole vectors.
//
//go:noescape
func add_f32_neon(dst, a, b []float32)

// sub_f32_neon is dst[i] = a[i] - b[i], for whole vectors.
//
//go:noescape
func sub_f32_neon(dst, a, b []float32)

// mul_f32_neon is dst[i] = a[i] * b[i], for whole vectors.
//
//go:noescape
func mul_f32_neon(dst, a, b []float32)

// div_f32_neon is dst[i] = a[i] / b[i], for whole vectors.
//
//go:noescape
func div_f32_neon(dst, a, b []float32)

// max_f32_neon is dst[i] = max(a[i], b[i]), for whole vectors.
//
//go:noescape
func max_f32_neon(dst, a, b []float32)

// min_f32_neon is dst[i] = min(a[i], b[i]), for whole vectors.
//
//go:noescape
func min_f32_neon(dst, a, b []float32)

// clamp_f32_neon is dst[i] = min(max(src[i], lo), hi), for whole vectors.
//
//go:noescape
func clamp_f32_neon(dst, src []float32, lo, hi float32)

// addscalar_f32_neon is dst[i] = src[i] + c, for whole vectors.
//
//go:noescape
func addscalar_f32_neon(dst, src []float32, c float32)

// mulscalar_f32_neon is dst[i] = src[i] * c, for whole vectors.
//
//go:noescape
func mulscalar_f32_neon(dst, src []float32, c float32)

// sqrt_f32_neon is dst[i] = sqrt(src[i]), for whole vectors.
//
//go:noescape
func sqrt_f32_neon(dst, src []float32)

// axpy_f32_neon is dst[i] += a * x[i], for whole vectors.
//
//go:noescape
func axpy_f32_neon(dst, x []float32, a float32)

// sum_f32_neon is the sum of src, for whole vectors.
//
//go:noescape
func sum_f32_neon(src []float32) (r float32)

// exp_f32_neon is dst[i] = e^src[i], for whole vectors.
//
//go:noescape
func exp_f32_neon(dst, src []float32)

// sigmoid_f32_neon is dst[i] = 1/(1+e^-src[i]), for whole vectors.
//
//go:noescape
func sigmoid_f32_neon(dst, src []float32)

// silu_f32_neon is dst[i] = src[i] / (1+e^-src[i]), for whole vectors.
//
//go:noescape
func silu_f32_neon(dst, src []float32)

// quantize_8_neon is the low byte of
// round(min(max(src[i]/scale, lo), hi)) + zero, for whole vectors of 8.
//
//go:noescape
func quantize_8_neon(dst []uint8, src []float32, scale, lo, hi float32, zero int32)

// dequantize_u8_neon is dst[i] = float32(src[i]-zero) * scale, for whole
// vectors of 8.
//
//go:noescape
func dequantize_u8_neon(dst []float32, src []uint8, scale float32, zero int32)

// dequantize_s8_neon is dst[i] = float32(src[i]-zero) * scale, for whole
// vectors of 8.
//
//go:noescape
func dequantize_s8_neon(dst []float32, src []int8, scale float32, zero int32)

// lookup_u8_neon is dst[i] = table[src[i]], for whole vectors of 16.
//
//go:noescape
func lookup_u8_neon(dst, src []uint8, table *[256]uint8)

// max_u8_neon is dst[i] = max(a[i], b[i]), for whole vectors of 16.
//
//go:noescape
func max_u8_neon(dst, a, b []uint8)

// max_s8_neon is dst[i] = max(a[i], b[i]) of bytes that hold int8, for whole
// vectors of 16.
//
//go:noescape
func max_s8_neon(dst, a, b []uint8)

// count_u8_neon is dst[i] += src[i], for whole vectors of 8.
//
//go:noescape
func count_u8_neon(dst []int32, src []uint8)

// f16tof32_neon is the conversion of half floats to float32, for whole vectors of 8.
//
//go:noescape
func f16tof32_neon(dst []float32, src []uint16)

// bf16tof32_neon is the conversion of brain floats to float32, for whole vectors of 8.
//
//go:noescape
func bf16tof32_neon(dst []float32, src []uint16)

// f32tof16_neon is the conversion of float32 to half floats, rounding half to even, for
// whole vectors of 8.
//
//go:noescape
func f32tof16_neon(dst []uint16, src []float32)

// f32tobf16_neon is the conversion of float32 to brain floats, rounding half to even, for
// whole vectors of 8.
//
//go:noescape
func f32tobf16_neon(dst []uint16, src []float32)

// depthwise_u8s8_neon computes kernel.DepthwiseU8S8 for whole vectors of 8
// channels.
//
//go:noescape
func depthwise_u8s8_neon(d *kernel.DepthwiseU8S8)

// depthwise_f32_neon computes kernel.DepthwiseF32 for whole vectors of 4
// channels.
//
//go:noescape
func depthwise_f32_neon(d *kernel.DepthwiseF32)

// poolmax_f32_neon is the maximum of kernel.Pool for whole vectors of 4 channels.
//
//go:noescape
func poolmax_f32_neon(p *kernel.Pool)

// poolsum_f32_neon is the sum of kernel.Pool for whole vectors of 4 channels.
//
//go:noescape
func poolsum_f32_neon(p *kernel.Pool)

// gemv_f32_neon is dst[i] = sum over k of w[i*ldw+k] * x[k].
//
//go:noescape
func gemv_f32_neon(dst, w, x []float32, ldw int)

// gemv_q4_neon is dst[i] = sum over k of w(row+i,k)*x[k] for
// kernel.Quantized.
//
//go:noescape
func gemv_q4_neon(dst, x []float32, w *kernel.Quantized, row int)

// gemv_q8_neon is dst[i] = sum over k of w(row+i,k)*x[k] for
// kernel.Quantized.
//
//go:noescape
func gemv_q8_neon(dst, x []float32, w *kernel.Quantized, row int)

// dequant_q4_neon is dst[i] = (q(i)-zero) * scale for 4-bit weights, 16 at a
// time.
//
//go:noescape
func dequant_q4_neon(dst []float32, q []uint8, zero, scale float32)

// sparse_csr_f32_neon computes the rows from lo to hi of kernel.SparseF32.
//
//go:noescape
func sparse_csr_f32_neon(t *kernel.SparseF32, lo, hi int)

// sparse_4x1_f32_neon computes the blocks of rows from lo to hi of
// kernel.SparseF32.
//
//go:noescape
func sparse_4x1_f32_neon(t *kernel.SparseF32, lo, hi int)

// leakyrelu_f32_neon is dst[i] = src[i], times slope where negative, for whole vectors.
//
//go:noescape
func leakyrelu_f32_neon(dst, src []float32, slope float32)

// hardsigmoid_f32_neon is dst[i] = clamp(alpha*src[i]+beta, 0, 1), for whole
// vectors.
//
//go:noescape
func hardsigmoid_f32_neon(dst, src []float32, alpha, beta float32)

// hardswish_f32_neon is dst[i] = src[i] * clamp(src[i]/6+1/2, 0, 1), for whole
// vectors.
//
//go:noescape
func hardswish_f32_neon(dst, src []float32)

// log_f32_neon is dst[i] = ln src[i], for whole vectors.
//
//go:noescape
func log_f32_neon(dst, src []float32)

// tanh_f32_neon is dst[i] = tanh(src[i]), for whole vectors.
//
//go:noescape
func tanh_f32_neon(dst, src []float32)

// erf_f32_neon is dst[i] = erf(src[i]), for whole vectors.
//
//go:noescape
func erf_f32_neon(dst, src []float32)

// gelu_f32_neon is dst[i] = src[i]/2 * (1+erf(src[i]/sqrt 2)), for whole vectors.
//
//go:noescape
func gelu_f32_neon(dst, src []float32)

// gelutanh_f32_neon is dst[i] = x/2 * (1+tanh(sqrt(2/pi) * (x+0.044715x^3))) for
// x = src[i], for whole vectors.
//
//go:noescape
func gelutanh_f32_neon(dst, src []float32)

// normalize_f32_neon is dst[i] = (src[i]-mean) * inv, for whole vectors.
//
//go:noescape
func normalize_f32_neon(dst, src []float32, mean, inv float32)

// normalizescaled_f32_neon is dst[i] = (src[i]-mean) * inv * gamma[i], for
// whole vectors.
//
//go:noescape
func normalizescaled_f32_neon(dst, src, gamma []float32, mean, inv float32)

// normalizeaffine_f32_neon is dst[i] = (src[i]-mean) * inv * gamma[i] +
// beta[i], for whole vectors.
//
//go:noescape
func normalizeaffine_f32_neon(dst, src, gamma, beta []float32, mean, inv float32)

// rowmax_f32_neon is the maximum of src, NaN if it has one, for whole vectors.
//
//go:noescape
func rowmax_f32_neon(src []float32) (r float32)

// rowmin_f32_neon is the minimum of src, NaN if it has one, for whole vectors.
//
//go:noescape
func rowmin_f32_neon(src []float32) (r float32)

// sumsquares_f32_neon is the sum of (src[i]-mean)^2, for whole vectors.
//
//go:noescape
func sumsquares_f32_neon(src []float32, mean float32) (r float32)

// softmaxexp_f32_neon is dst[i] = e^(src[i]-max), and returns their sum, for
// whole vectors.
//
//go:noescape
func softmaxexp_f32_neon(dst, src []float32, max float32) (r float32)

// peak_f32_neon is rounds times 10 multiply-adds of four float32, and returns
// the number of products.
//
//go:noescape
func peak_f32_neon(rounds int) (r int)

// peak_i8_neon is the same of four bytes widened to 16 bits.
//
//go:noescape
func peak_i8_neon(rounds int) (r int)

// peak_i8_dotprod is the same of 16 bytes.
//
//go:noescape
func peak_i8_dotprod(rounds int) (r int)
