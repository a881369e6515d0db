//go:build !purego

package simd

import "github.com/onnxpack/onnxpack/graph/kernel"

// Sets lists the groups of kernels in the order in which they overlay a table.
func Sets() []Set {
	return []Set{
		{Name: "avx2", Needs: []string{"avx2", "bmi2", "f16c", "fma3"}, Overlay: overlayAVX2},
		{Name: "avxvnni", Needs: []string{"avx2", "avxvnni"}, Overlay: overlayAVXVNNI},
		{Name: "avx512", Needs: []string{"avx512bw", "avx512dq", "avx512f", "avx512vl"}, Overlay: overlayAVX512},
		{Name: "vbmi", Needs: []string{"avx512bw", "avx512f", "avx512vbmi"}, Overlay: overlayVBMI},
		{Name: "vnni", Needs: []string{"avx512bw", "avx512f", "avx512vl", "avx512vnni"}, Overlay: overlayVNNI},
	}
}

func overlayAVX2(t *kernel.Table) {
	vectorsAVX2(t)
	t.SparseI8Cost = 2.2
	t.GemmF32 = kernel.GemmF32{
		Name: "gemm_f32_6x16_avx2", MR: 6, NR: 16, Tile: gemm_f32_6x16_avx2, Row: gemm_f32_1x64_avx2,
		Rows: 48, Depth: 1024, BlockElems: 1 << 16,
	}
	t.GemmU8S8 = gemm6x16("gemm_u8s8_6x16_avx2", kernel.Pair16, gemm_u8s8_6x16_avx2)
	t.GemmS8S8 = gemm6x16("gemm_s8s8_6x16_avx2", kernel.Pair16, gemm_s8s8_6x16_avx2)
	t.GemmU8S8Fit = gemm6x16("gemm_u8s8fit_6x16_avx2", kernel.Quad, gemm_u8s8fit_6x16_avx2)
	t.GemmS8S8.Signed = true
	t.GemmU8S8Fit.Saturates = true
	t.GemmS8S8Fit = gemm6x16("gemm_s8s8fit_6x16_avx2", kernel.Quad, gemm_s8s8fit_6x16_avx2)
	t.GemmS8S8Fit.Signed, t.GemmS8S8Fit.Saturates = true, true
}

func overlayAVXVNNI(t *kernel.Table) {
	t.SparseI8Cost = 5
	t.GemmU8S8 = gemm6x16("gemm_u8s8_6x16_avxvnni", kernel.Quad, gemm_u8s8_6x16_avxvnni)
	t.GemmS8S8 = gemm6x16("gemm_s8s8_6x16_avxvnni", kernel.Quad, gemm_s8s8_6x16_avxvnni)
	t.GemmS8S8.Signed = true
	t.GemmU8S8Fit, t.GemmS8S8Fit = t.GemmU8S8, t.GemmS8S8
}

func overlayAVX512(t *kernel.Table) {
	vectorsAVX512(t)
	t.SparseI8Cost = 4.4
	t.GemmF32 = kernel.GemmF32{Name: "gemm_f32_12x32_avx512", MR: 12, NR: 32, Tile: gemm_f32_12x32_avx512, Row: gemm_f32_1x128_avx512, Rows: 48}
	t.GemmU8S8 = gemm12x32("gemm_u8s8_12x32_avx512", kernel.Pair16, gemm_u8s8_12x32_avx512)
	t.GemmS8S8 = gemm12x32("gemm_s8s8_12x32_avx512", kernel.Pair16, gemm_s8s8_12x32_avx512)
	t.GemmU8S8Fit = gemm12x32("gemm_u8s8fit_12x32_avx512", kernel.Quad, gemm_u8s8fit_12x32_avx512)
	t.GemmS8S8.Signed = true
	t.GemmU8S8Fit.Saturates = true
	t.GemmS8S8Fit = gemm12x32("gemm_s8s8fit_12x32_avx512", kernel.Quad, gemm_s8s8fit_12x32_avx512)
	t.GemmS8S8Fit.Signed, t.GemmS8S8Fit.Saturates = true, true
}

func overlayVBMI(t *kernel.Table) { t.Lookup = lookup(64, lookup_u8_vbmi, t.Lookup) }

func overlayVNNI(t *kernel.Table) {
	t.SparseI8Cost = 9
	t.PeakI8 = peak_i8_vnni
	t.DepthwiseU8S8 = depthwiseU8S8(16, depthwise_u8s8_vnni, t.DepthwiseU8S8)
	t.DepthwiseU8S8 = upToTaps(32, depthwiseU8S8(64, depthwise_u8s8_quad_vnni, t.DepthwiseU8S8), t.DepthwiseU8S8)
	t.GemmU8S8 = gemm12x32("gemm_u8s8_12x32_vnni", kernel.Quad, gemm_u8s8_12x32_vnni)
	t.GemmS8S8 = gemm12x32("gemm_s8s8_12x32_vnni", kernel.Quad, gemm_s8s8_12x32_vnni)
	t.GemmS8S8.Signed = true
	t.GemmU8S8Fit, t.GemmS8S8Fit = t.GemmU8S8, t.GemmS8S8
}

func gemm6x16(name string, layout kernel.LayoutI8, tile func(*kernel.TileI8)) kernel.GemmI8 {
	return kernel.GemmI8{Name: name, MR: 6, NR: 16, Layout: layout, Tile: tile}
}

func gemm12x32(name string, layout kernel.LayoutI8, tile func(*kernel.TileI8)) kernel.GemmI8 {
	return kernel.GemmI8{Name: name, MR: 12, NR: 32, Layout: layout, Tile: tile}
}
