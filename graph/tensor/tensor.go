// Package tensor holds the values that ONNX models are made of: dense tensors
// of all of ONNX's element types, and sparse ones.
//
// It is on floor 0: it knows nothing of graphs, files or operators.
package tensor

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"
)

// Tensor is a dense row-major tensor. Its bytes are little-endian, elements
// narrower than a byte packed as ONNX packs them; they may belong to a mapped
// file, so only the maker of a tensor writes to it. Strings are kept apart.
type Tensor struct {
	dtype   DType
	shape   Shape
	data    []byte
	strs    []string
	aligned atomic.Pointer[[]byte] // copy of data that typed views may use
	evict   func([]byte)           // see [FromMapped]
}

// Elem is a Go type that can stand for a tensor's element.
type Elem interface {
	~float32 | ~float64 | ~int8 | ~int16 | ~int32 | ~int64 |
		~uint8 | ~uint16 | ~uint32 | ~uint64 | ~bool | ~complex64 | ~complex128
}

// New returns a zeroed tensor. It panics if the shape is not valid.
func New(dtype DType, shape Shape) *Tensor {
	n := shape.Len()
	t := &Tensor{dtype: dtype, shape: shape.Clone()}
	if dtype == String {
		t.strs = make([]string, n)
	} else {
		t.data = alignedBytes(dtype.Bytes(n))
	}
	return t
}

// alignedBytes returns n zeroed bytes that start on an 8-byte boundary.
func alignedBytes(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n)
}

// FromBytes returns a tensor over data, which is not copied and must hold
// exactly the bytes that dtype and shape ask for. It serves every type but
// String.
func FromBytes(dtype DType, shape Shape, data []byte) (*Tensor, error) {
	if !dtype.Valid() || dtype == String {
		return nil, fmt.Errorf("a %v tensor has no raw bytes", dtype)
	}
	if err := shape.Check(); err != nil {
		return nil, err
	}
	if want := dtype.Bytes(shape.Len()); len(data) != want {
		return nil, fmt.Errorf("%v%v has %d bytes of data, want %d", dtype, shape, len(data), want)
	}
	return &Tensor{dtype: dtype, shape: shape.Clone(), data: data}, nil
}

// FromMapped is [FromBytes] for data that may lie in a mapped file: evict gives
// memory that holds the given part of it back, until it is read again.
func FromMapped(dtype DType, shape Shape, data []byte, evict func([]byte)) (*Tensor, error) {
	t, err := FromBytes(dtype, shape, data)
	if err == nil {
		t.evict = evict
	}
	return t, err
}

// Evict tells that the elements will not be read soon. Those of a mapped file
// then take no memory until they are. Others may read t meanwhile.
func (t *Tensor) Evict() {
	if t.evict != nil && len(t.data) > 0 {
		t.evict(t.data)
	}
}

// Of returns a tensor over a Go slice, which is not copied. The element type
// is that of the slice: float32 gives Float32, bool gives Bool, and so on. It
// panics if the slice's length does not fit the shape.
func Of[T Elem](shape Shape, data []T) *Tensor {
	dt := dtypeOf[T]()
	if len(data) != shape.Len() {
		panic(fmt.Sprintf("tensor: %d elements for shape %v", len(data), shape))
	}
	return &Tensor{dtype: dt, shape: shape.Clone(), data: bytesOf(data)}
}

// OfStrings returns a String tensor over data, which is not copied.
func OfStrings(shape Shape, data []string) *Tensor {
	if len(data) != shape.Len() {
		panic(fmt.Sprintf("tensor: %d elements for shape %v", len(data), shape))
	}
	return &Tensor{dtype: String, shape: shape.Clone(), strs: data}
}

// Scalar returns a tensor of shape [] with one element.
func Scalar[T Elem](x T) *Tensor { return Of(Shape{}, []T{x}) }

// Vector returns a tensor of one axis.
func Vector[T Elem](x ...T) *Tensor { return Of(Shape{len(x)}, x) }

func bytesOf[T Elem](data []T) []byte {
	if len(data) == 0 {
		return []byte{}
	}
	var x T
	return unsafe.Slice((*byte)(unsafe.Pointer(&data[0])), len(data)*int(unsafe.Sizeof(x)))
}

func dtypeOf[T Elem]() DType {
	var x T
	switch any(x).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case int8:
		return Int8
	case int16:
		return Int16
	case int32:
		return Int32
	case int64:
		return Int64
	case uint8:
		return Uint8
	case uint16:
		return Uint16
	case uint32:
		return Uint32
	case uint64:
		return Uint64
	case bool:
		return Bool
	case complex64:
		return Complex64
	case complex128:
		return Complex128
	}
	panic(fmt.Sprintf("tensor: no element type for %T", x))
}

// DType returns the type of the elements.
func (t *Tensor) DType() DType { return t.dtype }

// Shape returns the dimensions; the caller does not change them.
func (t *Tensor) Shape() Shape { return t.shape }

// Rank returns the number of axes.
func (t *Tensor) Rank() int { return len(t.shape) }

// Len returns the number of elements.
func (t *Tensor) Len() int { return t.shape.Len() }

// Bytes returns the packed little-endian elements, shared with t, at any
// alignment; nil for strings.
func (t *Tensor) Bytes() []byte { return t.data }

// Size returns how many bytes the elements take, for strings their text.
func (t *Tensor) Size() int {
	n := len(t.data)
	for _, s := range t.strs {
		n += len(s)
	}
	return n
}

// Strings returns the elements of a String tensor, shared with t.
func (t *Tensor) Strings() []string { return t.strs }

// Data returns the elements as a Go slice whose element width is that of the
// tensor's: float32 for Float32, uint16 for Float16 or BFloat16 bit patterns,
// uint8 for the eight-bit floats and Bool. It panics where the widths differ:
// callers branch on DType first.
//
// The slice shares memory with t, so the maker of a tensor can write through
// it; the exception is a tensor from FromBytes at an odd address, whose view
// is for reading only: it is an aligned copy unless the CPU reads at any
// address.
func Data[T Elem](t *Tensor) []T {
	var x T
	size := int(unsafe.Sizeof(x))
	if t.dtype.Bits() != 8*size {
		panic(fmt.Sprintf("tensor: %v read as %T", t.dtype, x))
	}
	b := t.data
	if len(b) == 0 {
		return []T{}
	}
	if !readsUnaligned && uintptr(unsafe.Pointer(&b[0]))%unsafe.Alignof(x) != 0 {
		b = t.alignedData()
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/size)
}

// readsUnaligned says that loads of numbers may be at any address. Go allows
// views of elements without pointers there where the CPU does.
const readsUnaligned = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

func (t *Tensor) alignedData() []byte {
	if p := t.aligned.Load(); p != nil {
		return *p
	}
	b := alignedBytes(len(t.data))
	copy(b, t.data)
	t.aligned.CompareAndSwap(nil, &b)
	return *t.aligned.Load()
}

// Reshape returns a tensor of another shape over the same elements. It
// panics if the number of elements differs.
func (t *Tensor) Reshape(shape Shape) *Tensor {
	if shape.Len() != t.Len() {
		panic(fmt.Sprintf("tensor: %v reshaped to %v", t.shape, shape))
	}
	return &Tensor{dtype: t.dtype, shape: shape.Clone(), data: t.data, strs: t.strs, evict: t.evict}
}

// Bitcast returns the same bytes as elements of another type of equal width.
func (t *Tensor) Bitcast(d DType) *Tensor {
	if d.Bits() != t.dtype.Bits() || d.Bits() == 0 {
		panic(fmt.Sprintf("tensor: %v seen as %v", t.dtype, d))
	}
	return &Tensor{dtype: d, shape: t.shape, data: t.data, evict: t.evict}
}

// Clone returns a copy that shares nothing with t.
func (t *Tensor) Clone() *Tensor {
	c := New(t.dtype, t.shape)
	copy(c.data, t.data)
	copy(c.strs, t.strs)
	return c
}

// Equal reports whether two tensors have the same type, shape and bits.
func (t *Tensor) Equal(u *Tensor) bool {
	if t == u {
		return true
	}
	if t == nil || u == nil || t.dtype != u.dtype || !t.shape.Equal(u.shape) {
		return false
	}
	return sameBytes(t.data, u.data) && slices.Equal(t.strs, u.strs)
}

func sameBytes(a, b []byte) bool {
	if len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) {
		return true
	}
	return bytes.Equal(a, b)
}

// String describes the tensor as "float[2,3]".
func (t *Tensor) String() string {
	if t == nil {
		return "none"
	}
	return t.dtype.String() + t.shape.String()
}

// Sparse is a tensor of which only some elements are stored (ONNX's
// SparseTensorProto). Indices is Int64: [n] of linear positions, or [n,rank]
// of coordinates, in increasing order.
type Sparse struct {
	Values  *Tensor
	Indices *Tensor
	Shape   Shape
}
