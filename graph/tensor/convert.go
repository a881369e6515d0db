package tensor

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Float32s returns the elements as float32, in memory shared with t if it is
// Float32. It serves every type but complex ones and String.
func Float32s(t *Tensor) []float32 { return Data[float32](must(t, Float32)) }

// Float64s returns the elements as float64, in memory shared with t if it is
// Float64. It serves every type but complex ones and String.
func Float64s(t *Tensor) []float64 { return Data[float64](must(t, Float64)) }

// Int64s returns the elements as int64, in memory shared with t if it is
// Int64; fractions are cut off. It serves every type but complex ones and
// String.
func Int64s(t *Tensor) []int64 { return Data[int64](must(t, Int64)) }

// FromFloat32s returns a tensor of type d with the given elements, converted
// as by [Convert] without saturation.
func FromFloat32s(d DType, s Shape, x []float32) *Tensor { return must(Of(s, x), d) }

// FromFloat64s returns a tensor of type d with the given elements, converted
// as by [Convert] without saturation.
func FromFloat64s(d DType, s Shape, x []float64) *Tensor { return must(Of(s, x), d) }

// FromInt64s returns a tensor of type d with the given elements, converted as
// by [Convert] without saturation.
func FromInt64s(d DType, s Shape, x []int64) *Tensor { return must(Of(s, x), d) }

func must(t *Tensor, d DType) *Tensor {
	c, err := Convert(t, d, false, RoundUp)
	if err != nil {
		panic("tensor: " + err.Error())
	}
	return c
}

// Convert returns t with elements of type d, under the rules of ONNX's Cast:
//
//   - integers to integers keep the low bits; floats to integers drop the
//     fraction, a value out of int64's range gives its end and NaN gives 0;
//   - to floats: round to nearest even. Beyond the range of an eight-bit float
//     saturate chooses its largest value over infinity or NaN; other types
//     give infinity, Float4E2M1 its largest value. r is for Float8E8M0;
//   - to Bool: zero is false, all else true;
//   - numbers to strings: the shortest text that reads back as the same
//     number; strings to numbers: decimal, scientific, INF and NaN.
//
// Complex numbers convert to complex numbers only, real ones to any. If t has
// type d already it is returned itself. An error names the two types, or the
// element that is no number.
func Convert(t *Tensor, d DType, saturate bool, r Rounding) (*Tensor, error) {
	if t.dtype == d {
		return t, nil
	}
	if !d.Valid() {
		return nil, fmt.Errorf("%v converted to %v, which is no type of elements", t, d)
	}
	dst := New(d, t.shape)
	return dst, ConvertTo(dst, t, saturate, r)
}

// ConvertTo is [Convert] into a tensor of the same number of elements.
func ConvertTo(dst, src *Tensor, saturate bool, r Rounding) error {
	if dst.Len() != src.Len() {
		return fmt.Errorf("%v converted to %v: the numbers of elements differ", src, dst)
	}
	switch {
	case dst.dtype == src.dtype:
		copy(dst.data, src.data)
		copy(dst.strs, src.strs)
	case src.dtype == String:
		return parseAll(dst, src, saturate, r)
	case dst.dtype == String:
		return formatAll(dst, src)
	case src.dtype.IsComplex() && !dst.dtype.IsComplex():
		return fmt.Errorf("%v converted to %v: complex numbers convert to complex ones only", src, dst.dtype)
	case dst.dtype.IsComplex():
		convertComplex(dst, src)
	case !convertFast(dst, src):
		convertBlocks(dst, src, saturate, r)
	}
	return nil
}

// convertFast serves the pairs that are common, or that must not be rounded
// twice.
func convertFast(dst, src *Tensor) bool {
	switch [2]DType{src.dtype, dst.dtype} {
	case [2]DType{Float32, Float16}:
		each(dst, src, Float32ToHalf)
	case [2]DType{Float16, Float32}:
		table := half()
		each(dst, src, func(h uint16) float32 { return table[h] })
	case [2]DType{Float32, BFloat16}:
		each(dst, src, Float32ToBFloat16)
	case [2]DType{BFloat16, Float32}:
		each(dst, src, BFloat16ToFloat32)
	case [2]DType{Int64, Float32}:
		each(dst, src, func(x int64) float32 { return float32(x) })
	case [2]DType{Uint64, Float32}:
		each(dst, src, func(x uint64) float32 { return float32(x) })
	case [2]DType{Uint64, Float64}:
		each(dst, src, func(x uint64) float64 { return float64(x) })
	case [2]DType{Float64, Uint64}:
		each(dst, src, floatToUint)
	case [2]DType{Float32, Uint64}:
		each(dst, src, func(x float32) uint64 { return floatToUint(float64(x)) })
	case [2]DType{Uint8, Float32}:
		each(dst, src, func(x uint8) float32 { return float32(x) })
	case [2]DType{Int8, Float32}:
		each(dst, src, func(x int8) float32 { return float32(x) })
	case [2]DType{Int32, Float32}:
		each(dst, src, func(x int32) float32 { return float32(x) })
	case [2]DType{Float64, Float32}:
		each(dst, src, func(x float64) float32 { return float32(x) })
	case [2]DType{Float32, Float64}:
		each(dst, src, func(x float32) float64 { return float64(x) })
	case [2]DType{Int64, Int32}:
		each(dst, src, func(x int64) int32 { return int32(x) })
	case [2]DType{Int32, Int64}:
		each(dst, src, func(x int32) int64 { return int64(x) })
	default:
		return false
	}
	return true
}

func each[S, D Elem](dst, src *Tensor, f func(S) D) {
	s, d := Data[S](src), Data[D](dst)
	for i, x := range s {
		d[i] = f(x)
	}
}

const block = 512 // elements converted at a time

// convertBlocks converts through float64 where a float is involved, which
// holds every float exactly, and through int64 between integers.
func convertBlocks(dst, src *Tensor, saturate bool, r Rounding) {
	n := src.Len()
	if src.dtype.IsFloat() {
		var buf [block]float64
		for lo := 0; lo < n; lo += block {
			b := buf[:min(block, n-lo)]
			readFloats(b, src, lo)
			writeFloats(dst, lo, b, saturate, r)
		}
		return
	}
	var buf [block]int64
	var floats [block]float64
	for lo := 0; lo < n; lo += block {
		b := buf[:min(block, n-lo)]
		readInts(b, src, lo)
		if !dst.dtype.IsFloat() {
			writeInts(dst, lo, b)
			continue
		}
		f := floats[:len(b)]
		for i, x := range b {
			if f[i] = float64(x); src.dtype == Uint64 {
				f[i] = float64(uint64(x))
			}
		}
		writeFloats(dst, lo, f, saturate, r)
	}
}

func readFloats(b []float64, t *Tensor, lo int) {
	switch t.dtype {
	case Float32:
		widen(b, Data[float32](t)[lo:])
	case Float64:
		copy(b, Data[float64](t)[lo:])
	case BFloat16:
		for i, h := range Data[uint16](t)[lo:][:len(b)] {
			b[i] = float64(BFloat16ToFloat32(h))
		}
	case Float16:
		table := half()
		for i, h := range Data[uint16](t)[lo:][:len(b)] {
			b[i] = float64(table[h])
		}
	case Float4E2M1:
		table := MiniFloats(t.dtype)
		for i := range b {
			b[i] = float64(table[t.data[(lo+i)/2]>>(4*((lo+i)%2))&15])
		}
	default:
		table := MiniFloats(t.dtype)
		for i, c := range t.data[lo:][:len(b)] {
			b[i] = float64(table[c])
		}
	}
}

func readInts(b []int64, t *Tensor, lo int) {
	switch t.dtype {
	case Int8:
		widen(b, Data[int8](t)[lo:])
	case Int16:
		widen(b, Data[int16](t)[lo:])
	case Int32:
		widen(b, Data[int32](t)[lo:])
	case Int64, Uint64:
		copy(b, Data[int64](t)[lo:])
	case Uint16:
		widen(b, Data[uint16](t)[lo:])
	case Uint32:
		widen(b, Data[uint32](t)[lo:])
	case Uint8:
		widen(b, Data[uint8](t)[lo:])
	case Bool:
		for i, x := range t.data[lo:][:len(b)] {
			b[i] = int64(min(x, 1))
		}
	default:
		readPacked(b, t, lo)
	}
}

func readPacked(b []int64, t *Tensor, lo int) {
	bits := t.dtype.Bits()
	per := 8 / bits
	signed := t.dtype.IsSigned()
	for i := range b {
		p := lo + i
		x := t.data[p/per] >> (bits * (p % per)) << (8 - bits)
		if signed {
			b[i] = int64(int8(x) >> (8 - bits))
		} else {
			b[i] = int64(x >> (8 - bits))
		}
	}
}

type number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

func widen[D, S number](dst []D, src []S) {
	for i, x := range src[:len(dst)] {
		dst[i] = D(x)
	}
}

func writeFloats(t *Tensor, lo int, b []float64, saturate bool, r Rounding) {
	switch d := t.dtype; d {
	case Float32:
		widen(Data[float32](t)[lo:][:len(b)], b)
	case Float64:
		copy(Data[float64](t)[lo:], b)
	case Float8E8M0:
		for i, x := range b {
			t.data[lo+i] = Float32ToE8M0(float32(x), saturate, r)
		}
	case Float16, BFloat16:
		for i, x := range b {
			Data[uint16](t)[lo+i] = minifloats[d].encode(x, false)
		}
	case Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ:
		for i, x := range b {
			t.data[lo+i] = uint8(minifloats[d].encode(x, saturate))
		}
	case Float4E2M1:
		for i, x := range b {
			putBits(t, lo+i, uint8(minifloats[d].encode(x, true)))
		}
	case Bool:
		for i, x := range b {
			t.data[lo+i] = bit(x != 0)
		}
	case Uint64:
		for i, x := range b {
			Data[uint64](t)[lo+i] = floatToUint(x)
		}
	default:
		var ints [block]int64
		for i, x := range b {
			ints[i] = floatToInt(x)
		}
		writeInts(t, lo, ints[:len(b)])
	}
}

func writeInts(t *Tensor, lo int, b []int64) {
	switch t.dtype {
	case Int8, Uint8:
		narrow(Data[uint8](t)[lo:], b)
	case Int16, Uint16:
		narrow(Data[uint16](t)[lo:], b)
	case Int32, Uint32:
		narrow(Data[uint32](t)[lo:], b)
	case Int64, Uint64:
		copy(Data[int64](t)[lo:], b)
	case Bool:
		for i, x := range b {
			t.data[lo+i] = bit(x != 0)
		}
	default:
		for i, x := range b {
			putBits(t, lo+i, uint8(x))
		}
	}
}

func narrow[D number](dst []D, b []int64) {
	for i, x := range b {
		dst[i] = D(x)
	}
}

// putBits writes the low bits of x as element i of a tensor of elements
// narrower than a byte.
func putBits(t *Tensor, i int, x uint8) {
	bits := t.dtype.Bits()
	per := 8 / bits
	mask := uint8(1)<<bits - 1
	shift := bits * (i % per)
	p := &t.data[i/per]
	*p = *p&^(mask<<shift) | x&mask<<shift
}

// Codes returns the elements of a tensor narrower than a byte one to a byte,
// without sign extension; of eight-bit elements, their bytes, shared.
func Codes(t *Tensor) []uint8 {
	bits := t.dtype.Bits()
	if bits == 8 {
		return t.data
	}
	if bits == 0 || bits > 8 {
		panic(fmt.Sprintf("tensor: %v has no byte codes", t.dtype))
	}
	codes := make([]uint8, t.Len())
	per := 8 / bits
	for i := range codes {
		codes[i] = t.data[i/per] >> (bits * (i % per)) & (1<<bits - 1)
	}
	return codes
}

// FromCodes packs elements given one to a byte, the inverse of [Codes].
func FromCodes(d DType, s Shape, codes []uint8) *Tensor {
	t := New(d, s)
	if d.Bits() == 8 {
		copy(t.data, codes)
		return t
	}
	for i, c := range codes {
		putBits(t, i, c)
	}
	return t
}

func bit(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func floatToInt(x float64) int64 {
	switch {
	case x != x:
		return 0
	case x >= 1<<63:
		return math.MaxInt64
	case x < -1<<63:
		return math.MinInt64
	}
	return int64(x)
}

func floatToUint(x float64) uint64 {
	switch {
	case x >= 1<<64:
		return math.MaxUint64
	case x >= 1<<63:
		return uint64(x-1<<63) + 1<<63
	}
	return uint64(floatToInt(x))
}

func convertComplex(dst, src *Tensor) {
	n := src.Len()
	var wide []complex128
	switch src.dtype {
	case Complex64:
		wide = make([]complex128, n)
		for i, x := range Data[complex64](src) {
			wide[i] = complex128(x)
		}
	case Complex128:
		wide = Data[complex128](src)
	default:
		wide = make([]complex128, n)
		for i, x := range Float64s(src) {
			wide[i] = complex(x, 0)
		}
	}
	if dst.dtype == Complex128 {
		copy(Data[complex128](dst), wide)
		return
	}
	for i, x := range wide {
		Data[complex64](dst)[i] = complex64(x)
	}
}

func formatAll(dst, src *Tensor) error {
	d := src.dtype
	switch {
	case d.IsComplex():
		return fmt.Errorf("%v converted to %v: complex numbers convert to complex ones only", src, dst.dtype)
	case d.IsFloat():
		bits := 32
		if d == Float64 {
			bits = 64
		}
		for i, x := range Float64s(src) {
			dst.strs[i] = formatFloat(x, bits)
		}
	case d == Uint64:
		for i, x := range Data[uint64](src) {
			dst.strs[i] = strconv.FormatUint(x, 10)
		}
	case d == Bool:
		for i, x := range src.data {
			dst.strs[i] = [2]string{"False", "True"}[min(x, 1)]
		}
	default:
		for i, x := range Int64s(src) {
			dst.strs[i] = strconv.FormatInt(x, 10)
		}
	}
	return nil
}

// formatFloat writes x as NumPy does, which the ONNX vectors follow: the
// shortest digits, with a fraction, in plain notation where that is short.
func formatFloat(x float64, bits int) string {
	switch {
	case x != x:
		return "nan"
	case math.IsInf(x, 1):
		return "inf"
	case math.IsInf(x, -1):
		return "-inf"
	}
	if a := math.Abs(x); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, bits)
	}
	s := strconv.FormatFloat(x, 'f', -1, bits)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func parseAll(dst, src *Tensor, saturate bool, r Rounding) error {
	if dst.dtype.IsInteger() || dst.dtype == Bool {
		if ints, ok := parseInts(src.strs, dst.dtype == Uint64); ok {
			return ConvertTo(dst, Of(src.shape, ints), saturate, r)
		}
	}
	bits := 64
	if dst.dtype == Float32 {
		bits = 32
	}
	vals := make([]float64, len(src.strs))
	for i, s := range src.strs {
		x, err := strconv.ParseFloat(strings.TrimSpace(s), bits)
		if err != nil && !isRange(err) {
			return fmt.Errorf("%v converted to %v: element %d is %q, want a number", src, dst.dtype, i, s)
		}
		vals[i] = x
	}
	return ConvertTo(dst, Of(src.shape, vals), saturate, r)
}

func isRange(err error) bool {
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}

func parseInts(strs []string, unsigned bool) ([]int64, bool) {
	ints := make([]int64, len(strs))
	for i, s := range strs {
		s = strings.TrimSpace(s)
		x, err := strconv.ParseInt(s, 10, 64)
		if err != nil && unsigned {
			var u uint64
			u, err = strconv.ParseUint(s, 10, 64)
			x = int64(u)
		}
		if err != nil {
			return nil, false
		}
		ints[i] = x
	}
	return ints, true
}
