package tensor

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Every code of every small float decodes to a value that encodes to it.
func TestMinifloatRoundTrip(t *testing.T) {
	for d, f := range minifloats {
		if f == nil {
			continue
		}
		for code := 0; code < 1<<DType(d).Bits(); code++ {
			x := f.decode(uint16(code))
			if x != x {
				continue
			}
			if got := f.encode(float64(x), false); got != uint16(code) {
				t.Errorf("%v: code %#x is %v, which encodes to %#x", DType(d), code, x, got)
			}
		}
	}
}

// The quick conversions agree with the general one.
func TestHalfConversions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200000 {
		x := math.Float32frombits(r.Uint32())
		if x != x {
			continue
		}
		if got, want := Float32ToHalf(x), minifloats[Float16].encode(float64(x), false); got != want {
			t.Fatalf("float16 of %v is %#x, want %#x", x, got, want)
		}
		if got, want := Float32ToBFloat16(x), minifloats[BFloat16].encode(float64(x), false); got != want {
			t.Fatalf("bfloat16 of %v is %#x, want %#x", x, got, want)
		}
	}
}

func TestConvert(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		name     string
		in       *Tensor
		to       DType
		saturate bool
		want     *Tensor
	}{
		{"e4m3fn saturated", Vector(0, inf, -500, 449, nan), Float8E4M3FN, true, FromCodes(Float8E4M3FN, Shape{5}, []uint8{0, 0x7e, 0xfe, 0x7e, 0x7f})},
		{"e4m3fn", Vector(0, inf, -500, 449), Float8E4M3FN, false, FromCodes(Float8E4M3FN, Shape{4}, []uint8{0, 0x7f, 0xff, 0x7e})},
		{"e5m2", Vector(inf, -1e6, 1), Float8E5M2, false, FromCodes(Float8E5M2, Shape{3}, []uint8{0x7c, 0xfc, 0x3c})},
		{"fnuz has no -0", Vector(float32(math.Copysign(0, -1)), nan), Float8E5M2FNUZ, true, FromCodes(Float8E5M2FNUZ, Shape{2}, []uint8{0, 0x80})},
		{"e8m0 up", Vector[float32](1, 3, 0), Float8E8M0, true, FromCodes(Float8E8M0, Shape{3}, []uint8{127, 129, 0})},
		{"int16 wraps to int8", Vector[int16](200, -1), Int8, false, Vector[int8](-56, -1)},
		{"int4 packs low first", Vector[float32](-1, 7, 3), Int4, false, FromCodes(Int4, Shape{3}, []uint8{15, 7, 3})},
		{"bool", Vector(0, -0.5, nan), Bool, false, Vector(false, true, true)},
		{"to text", Vector[float32](0.5, 1, 1e20), String, false, OfStrings(Shape{3}, []string{"0.5", "1.0", "1e+20"})},
		{"from text", OfStrings(Shape{3}, []string{"1e-5", "-INF", "3"}), Float32, false, Vector[float32](1e-5, -inf, 3)},
		{"text to integer", OfStrings(Shape{2}, []string{"9007199254740993", "-2"}), Int64, false, Vector[int64](9007199254740993, -2)},
	} {
		got, err := Convert(c.in, c.to, c.saturate, RoundUp)
		if err != nil || !got.Equal(c.want) {
			t.Errorf("%s: %v %x, %v; want %x", c.name, got, got.Bytes(), err, c.want.Bytes())
		}
	}
	if _, err := Convert(OfStrings(Shape{1}, []string{"x"}), Float32, false, RoundUp); err == nil {
		t.Error(`"x" converted to a number`)
	}
}
