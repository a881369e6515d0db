package tensor

import "fmt"

// DType is the type of a tensor's elements. Its numbers are those of ONNX's
// TensorProto.DataType.
type DType uint8

// The element types of ONNX, IR version 14.
const (
	Undefined      DType = 0
	Float32        DType = 1
	Uint8          DType = 2
	Int8           DType = 3
	Uint16         DType = 4
	Int16          DType = 5
	Int32          DType = 6
	Int64          DType = 7
	String         DType = 8
	Bool           DType = 9
	Float16        DType = 10
	Float64        DType = 11
	Uint32         DType = 12
	Uint64         DType = 13
	Complex64      DType = 14
	Complex128     DType = 15
	BFloat16       DType = 16
	Float8E4M3FN   DType = 17
	Float8E4M3FNUZ DType = 18
	Float8E5M2     DType = 19
	Float8E5M2FNUZ DType = 20
	Uint4          DType = 21
	Int4           DType = 22
	Float4E2M1     DType = 23
	Float8E8M0     DType = 24
	Uint2          DType = 25
	Int2           DType = 26

	maxDType = Int2
)

type class uint8

const (
	classNone class = iota
	classFloat
	classInt
	classUint
	classBool
	classString
	classComplex
)

var dtypes = [maxDType + 1]struct {
	name  string
	bits  int
	class class
}{
	Undefined:      {"undefined", 0, classNone},
	Float32:        {"float", 32, classFloat},
	Uint8:          {"uint8", 8, classUint},
	Int8:           {"int8", 8, classInt},
	Uint16:         {"uint16", 16, classUint},
	Int16:          {"int16", 16, classInt},
	Int32:          {"int32", 32, classInt},
	Int64:          {"int64", 64, classInt},
	String:         {"string", 0, classString},
	Bool:           {"bool", 8, classBool},
	Float16:        {"float16", 16, classFloat},
	Float64:        {"double", 64, classFloat},
	Uint32:         {"uint32", 32, classUint},
	Uint64:         {"uint64", 64, classUint},
	Complex64:      {"complex64", 64, classComplex},
	Complex128:     {"complex128", 128, classComplex},
	BFloat16:       {"bfloat16", 16, classFloat},
	Float8E4M3FN:   {"float8e4m3fn", 8, classFloat},
	Float8E4M3FNUZ: {"float8e4m3fnuz", 8, classFloat},
	Float8E5M2:     {"float8e5m2", 8, classFloat},
	Float8E5M2FNUZ: {"float8e5m2fnuz", 8, classFloat},
	Uint4:          {"uint4", 4, classUint},
	Int4:           {"int4", 4, classInt},
	Float4E2M1:     {"float4e2m1", 4, classFloat},
	Float8E8M0:     {"float8e8m0", 8, classFloat},
	Uint2:          {"uint2", 2, classUint},
	Int2:           {"int2", 2, classInt},
}

// DTypes lists every element type, Undefined aside, in ONNX's numbering.
func DTypes() []DType {
	all := make([]DType, maxDType)
	for i := range all {
		all[i] = DType(i + 1)
	}
	return all
}

// ParseDType returns the type with the given name in ONNX's text form
// ("float", "int64", "float8e4m3fn", …).
func ParseDType(name string) (DType, bool) {
	for d := Float32; d <= maxDType; d++ {
		if dtypes[d].name == name {
			return d, true
		}
	}
	return Undefined, false
}

// Valid reports whether d is one of ONNX's types, Undefined aside.
func (d DType) Valid() bool { return d > Undefined && d <= maxDType }

// String returns the name in ONNX's text form.
func (d DType) String() string {
	if d > maxDType {
		return fmt.Sprintf("dtype(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Bits returns the width of one element in bits, 0 for String and Undefined.
func (d DType) Bits() int {
	if d > maxDType {
		return 0
	}
	return dtypes[d].bits
}

// Bytes returns how many bytes n elements take: elements narrower than a
// byte are packed, the first in the lowest bits.
func (d DType) Bytes(n int) int { return (n*d.Bits() + 7) / 8 }

// IsFloat reports whether d is a real floating-point type of any width.
func (d DType) IsFloat() bool { return d <= maxDType && dtypes[d].class == classFloat }

// IsInteger reports whether d is a signed or unsigned integer type.
func (d DType) IsInteger() bool {
	return d <= maxDType && (dtypes[d].class == classInt || dtypes[d].class == classUint)
}

// IsSigned reports whether d is a signed integer type.
func (d DType) IsSigned() bool { return d <= maxDType && dtypes[d].class == classInt }

// IsUnsigned reports whether d is an unsigned integer type.
func (d DType) IsUnsigned() bool { return d <= maxDType && dtypes[d].class == classUint }

// IsComplex reports whether d is Complex64 or Complex128.
func (d DType) IsComplex() bool { return d == Complex64 || d == Complex128 }
