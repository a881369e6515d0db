//go:build !purego

package simd

import "github.com/onnxpack/onnxpack/graph/kernel"

// The assembly takes the offsets of fields from these names.
type (
	tileF32 kernel.TileF32
	tileI8  kernel.TileI8
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

// gemm_u8s8_8x8_dotprod is the product of kernel.TileI8:
// the sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says.
//
//go:noescape
func gemm_u8s8_8x8_dotprod(t *kernel.TileI8)

// gemm_s8s8_8x8_dotprod is the product of kernel.TileI8:
// the sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says.
//
//go:noescape
func gemm_s8s8_8x8_dotprod(t *kernel.TileI8)

// gemm_u8s8_8x8_i8mm is the product of kernel.TileI8:
// the sum over t, k of A[i,t,k]*B[t,k,j], finished as Out says.
//
//go:noescape
func gemm_u8s8_8x8_i8mm(t *kernel.TileI8)
