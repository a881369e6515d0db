//go:build !purego

package simd

import "github.com/onnxpack/onnxpack/graph/kernel"

// Sets lists the groups of kernels in the order in which they overlay a table.
func Sets() []Set {
	return []Set{
		{Name: "avx2", Needs: []string{"avx2", "bmi2", "f16c", "fma3"}, Overlay: overlayAVX2},
		{Name: "avx512", Needs: []string{"avx512bw", "avx512dq", "avx512f", "avx512vl"}, Overlay: overlayAVX512},
	}
}

func overlayAVX2(t *kernel.Table) {
	t.GemmF32 = kernel.GemmF32{Name: "gemm_f32_6x16_avx2", MR: 6, NR: 16, Tile: gemm_f32_6x16_avx2}
}

func overlayAVX512(t *kernel.Table) {
	t.GemmF32 = kernel.GemmF32{Name: "gemm_f32_12x32_avx512", MR: 12, NR: 32, Tile: gemm_f32_12x32_avx512}
}
