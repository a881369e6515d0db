package targets

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/onnxpack/onnxpack/graph/kernel"
)

// same fails unless the bits agree.
func same[T comparable](t *testing.T, what string, got, want []T) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: element %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func bitsOf(s []float32) []uint32 {
	bits := make([]uint32, len(s))
	for i, v := range s {
		bits[i] = math.Float32bits(v)
	}
	return bits
}

func TestQuantize(t *testing.T) {
	oracle := kernel.Generic()
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, n := range rowSizes {
			src := normals(t, newRand(n), n)
			for i := range src {
				src[i] = float32(math.Round(float64(src[i]*40))) / 2
			}
			if n == 65 {
				copy(src, special)
			}
			what := fmt.Sprintf("%d elements", n)
			wantU8, gotU8 := make([]uint8, n), guarded[uint8](t, n)
			oracle.QuantizeU8(wantU8, src, 0.1, 119)
			table.QuantizeU8(gotU8, src, 0.1, 119)
			same(t, what, gotU8, wantU8)
			wantS8, gotS8 := make([]int8, n), guarded[int8](t, n)
			oracle.QuantizeS8(wantS8, src, 0.5, -3)
			table.QuantizeS8(gotS8, src, 0.5, -3)
			same(t, what, gotS8, wantS8)

			want, got := make([]float32, n), guarded[float32](t, n)
			oracle.DequantizeU8(want, wantU8, 0.1, 119)
			table.DequantizeU8(got, gotU8, 0.1, 119)
			same(t, what, got, want)
			oracle.DequantizeS8(want, wantS8, 0.1, -3)
			table.DequantizeS8(got, gotS8, 0.1, -3)
			same(t, what, got, want)
		}
	})
}

func TestHalves(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	oracle := kernel.Generic()
	wide, brains := make([]float32, len(all)), make([]float32, len(all))
	oracle.F16ToF32(wide, all)
	oracle.BF16ToF32(brains, all)
	between := slices.Concat(special, wide, brains)
	for i := range all {
		between = append(between, math.Float32frombits(uint32(i)<<16|0x8000), math.Float32frombits(uint32(i*40503)))
		between = append(between, wide[i]+(wide[(i+1)%len(all)]-wide[i])/2)
	}
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		got := make([]float32, len(all))
		table.F16ToF32(got, all)
		same(t, "f16 to f32", bitsOf(got), bitsOf(wide))
		table.BF16ToF32(got, all)
		same(t, "bf16 to f32", bitsOf(got), bitsOf(brains))
		for _, n := range []int{len(between), 7, 13, 33} {
			want, got := make([]uint16, n), guarded[uint16](t, n)
			oracle.F32ToF16(want, between)
			table.F32ToF16(got, between)
			same(t, "f32 to f16", got, want)
			oracle.F32ToBF16(want, between)
			table.F32ToBF16(got, between)
			same(t, "f32 to bf16", got, want)
		}
	})
}

// TestHalvesRoundTrip holds the portable conversions to their definition.
func TestHalvesRoundTrip(t *testing.T) {
	table := kernel.Generic()
	for i := range 1 << 16 {
		h, wide, back := []uint16{uint16(i)}, make([]float32, 1), make([]uint16, 1)
		table.F16ToF32(wide, h)
		table.F32ToF16(back, wide)
		if h[0] != back[0] && wide[0] == wide[0] {
			t.Fatalf("half %#x becomes %v and then %#x", h[0], wide[0], back[0])
		}
	}
	for _, c := range []struct {
		v    float32
		half uint16
	}{{1, 0x3c00}, {-2, 0xc000}, {65504, 0x7bff}, {65520, 0x7c00}, {0x1p-24, 1}, {0x1p-25, 0}, {0x1.8p-24, 2}, {1 + 0x1p-11, 0x3c00}, {1 + 0x3p-11, 0x3c02}} {
		got := make([]uint16, 1)
		table.F32ToF16(got, []float32{c.v})
		if got[0] != c.half {
			t.Errorf("%v becomes half %#x, want %#x", c.v, got[0], c.half)
		}
	}
}

func TestTranspose(t *testing.T) {
	eachTable(t, func(t *testing.T, table *kernel.Table) {
		for _, rows := range []int{0, 1, 7, 8, 9, 17, 530} {
			for _, cols := range []int{0, 1, 7, 8, 9, 25} {
				lds, ldd := cols+2, rows+3
				src := normals(t, newRand(rows, cols), max(0, (rows-1)*lds+cols))
				dst := guarded[float32](t, max(0, (cols-1)*ldd+rows))
				want := make([]float32, len(dst))
				for r := range rows {
					for c := range cols {
						want[c*ldd+r] = src[r*lds+c]
					}
				}
				table.Transpose(dst, ldd, src, lds, rows, cols)
				same(t, fmt.Sprintf("%dx%d", rows, cols), dst, want)
			}
		}
	})
}
