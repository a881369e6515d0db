package tensor

import (
	"encoding/binary"
	"math"
	"testing"
)

// Elements may begin at any address.
func TestDataAtOddAddresses(t *testing.T) {
	for skip := range 9 {
		raw := make([]byte, skip+4*5)
		for i := range 5 {
			binary.LittleEndian.PutUint32(raw[skip+4*i:], math.Float32bits(float32(i)+0.5))
		}
		x, err := FromBytes(Float32, Shape{5}, raw[skip:])
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range Data[float32](x) {
			if v != float32(i)+0.5 {
				t.Errorf("%d bytes from a boundary, element %d is %v", skip, i, v)
			}
		}
		doubles, err := FromBytes(Float64, Shape{2}, raw[skip:skip+16])
		if err != nil {
			t.Fatal(err)
		}
		if got, want := Data[float64](doubles)[1], math.Float64frombits(binary.LittleEndian.Uint64(raw[skip+8:])); got != want {
			t.Errorf("%d bytes from a boundary, a double is %v, want %v", skip, got, want)
		}
	}
}
