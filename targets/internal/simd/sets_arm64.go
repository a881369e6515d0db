//go:build !purego

package simd

import (
	"math"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// Sets lists the groups of kernels in the order in which they overlay a table.
func Sets() []Set {
	return []Set{
		{Name: "neon", Needs: []string{"asimd"}, Overlay: overlayNEON},
		{Name: "dotprod", Needs: []string{"asimddp"}, Overlay: overlayDotprod},
		{Name: "i8mm", Needs: []string{"i8mm"}, Overlay: overlayI8MM},
	}
}

func overlayNEON(t *kernel.Table) {
	vectorsNEON(t)
	t.SparseI8Cost = math.Inf(1) // the kernel is portable
	t.PeakF32, t.PeakI8 = peak_f32_neon, peak_i8_neon
	t.GemmF32 = kernel.GemmF32{Name: "gemm_f32_8x8_neon", MR: 8, NR: 8, Tile: gemm_f32_8x8_neon}
	t.GemmU8S8 = gemm8x8("gemm_u8s8_8x8_neon", kernel.Wide16, gemm_u8s8_8x8_neon)
	t.GemmS8S8 = gemm8x8("gemm_s8s8_8x8_neon", kernel.Wide16, gemm_s8s8_8x8_neon)
	t.GemmS8S8.Signed = true
	t.GemmU8S8Fit, t.GemmS8S8Fit = t.GemmU8S8, t.GemmS8S8
}

func overlayDotprod(t *kernel.Table) {
	t.PeakI8 = peak_i8_dotprod
	t.GemmU8S8 = gemm6x16("gemm_u8s8_6x16_dotprod", kernel.Quad, gemm_u8s8_6x16_dotprod)
	t.GemmS8S8 = gemm6x16("gemm_s8s8_6x16_dotprod", kernel.Quad, gemm_s8s8_6x16_dotprod)
	t.GemmS8S8.Signed = true
	t.GemmU8S8Fit, t.GemmS8S8Fit = t.GemmU8S8, t.GemmS8S8
}

func overlayI8MM(t *kernel.Table) {
	t.GemmU8S8 = gemm6x16("gemm_u8s8_6x16_i8mm", kernel.Quad, gemm_u8s8_6x16_i8mm)
	t.GemmU8S8Fit, t.GemmS8S8Fit = t.GemmU8S8, t.GemmS8S8
}

func gemm8x8(name string, layout kernel.LayoutI8, tile func(*kernel.TileI8)) kernel.GemmI8 {
	return kernel.GemmI8{Name: name, MR: 8, NR: 8, Layout: layout, Tile: tile}
}

func gemm6x16(name string, layout kernel.LayoutI8, tile func(*kernel.TileI8)) kernel.GemmI8 {
	return kernel.GemmI8{Name: name, MR: 6, NR: 16, Layout: layout, Tile: tile}
}
